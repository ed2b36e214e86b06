package realtime_test

import (
	"fmt"
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

// RT-8: ten thousand streams come and go and leave nothing behind: no
// descriptor, no goroutine, no ring, no seat. Not parallel, as it counts what
// the process has.
func TestNothingIsLeftOfTenThousandStreams(t *testing.T) { //nolint:paralleltest // counts what the process has
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	n := newNode(t, realtime.Config{Shards: 2})
	warm := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}})
	warm.expect(t, "open")
	_ = warm.conn.Close()
	n.waitFor(t, "the first to be gone", func() bool { return n.hub.Stats().Subscribers == 0 })
	files, routines := descriptors(t), runtime.NumGoroutine()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 1250 {
				s := n.subscribe(t, realtime.Subscription{Topics: []string{fmt.Sprint("t", (i+w)%50), "all"}})
				if i%3 == 0 { // others leave before they are served
					s.expect(t, "open")
				}
				if i%100 == 0 {
					n.publish(t, "all", `1`)
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
}
