package realtime_test

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/picloud/picloud/realtime"
)

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// heap returns the bytes of live objects.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first has finalised
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// RT-8: a hundred thousand streams come and go and leave nothing behind: no
// descriptor, no goroutine, no ring, no seat, no memory. Not parallel, as it
// counts what the process has.
func TestNothingIsLeftOfManyStreams(t *testing.T) { //nolint:paralleltest // counts what the process has
	const workers = 8
	each := 100_000 / workers
	if testing.Short() {
		each /= 10
	}
	n := newNode(t, realtime.Config{Shards: 2})
	warm := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}})
	warm.expect(t, "hello")
	_ = warm.conn.Close()
	n.waitFor(t, "the first to be gone", func() bool { return n.hub.Stats().Subscribers == 0 })
	files, routines, before := descriptors(t), runtime.NumGoroutine(), heap()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				s := n.connect(t, realtime.Subscription{Topics: []string{fmt.Sprint("t", (i+w)%50), "all"}})
				if i%3 == 0 { // others leave before they are served
					s.expect(t, "hello")
				}
				if i%100 == 0 {
					n.publish(t, "all", `1`)
				}
				if tcp, ok := s.conn.(*net.TCPConn); ok && i%2 == 0 { // others vanish rudely
					_ = tcp.SetLinger(0)
				}
				_ = s.conn.Close()
			}
		})
	}
	wg.Wait()
	n.waitFor(t, "everything to be gone", func() bool {
		st := n.hub.Stats()
		return st.Subscribers == 0 && st.Rings == 0 && descriptors(t) <= files && runtime.NumGoroutine() <= routines
	})
	if after := heap(); after > before+(4<<20) {
		t.Errorf("%d bytes of memory became %d", before, after)
	}
}
