package sdk_test

import (
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
)

// A script that reads 30 files of 1 MB at once gets them all, and makes the node hold a
// few of them at a time.
//
//nolint:paralleltest // the heap is that of the whole process
func TestReadingAtOnceHoldsLittle(t *testing.T) {
	n := newNode(t)
	const size, bound = 1_000_000, 48 << 20
	if _, err := n.PutFile(t.Context(), picloud.FileChange{App: "default", Path: "large", Size: size}, strings.NewReader(strings.Repeat("x", size))); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	before := heap()
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		for {
			select {
			case <-time.After(time.Millisecond): // the runtime does not tell of a peak
				most = max(most, heap())
			case <-stop:
				peak <- most
				return
			}
		}
	}()
	got := n.run(t, `
	const one = (read) => async () => (await read("large")).length;
	const all = [...Array(15).fill(one(files.read)), ...Array(15).fill(one(files.text))];
	return (await Promise.all(all.map((f) => f()))).reduce((a, b) => a + b, 0);`)
	close(stop)
	if most := <-peak; got != "30000000" || most > before+bound {
		t.Errorf("the script read %s bytes; the heap grew from %d to %d, want at most %d more", got, before, most, bound)
	} else {
		t.Logf("the heap grew from %d to %d bytes", before, most)
	}
}

// heap is how many bytes the objects on the heap have, those that are not freed yet included.
func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
