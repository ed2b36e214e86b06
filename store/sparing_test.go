package store_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud/store"
)

// HW-6: while the board is to be spared checkpoints come half as often, and nothing is
// lost by that.
func TestCheckpointsSpareTheBoard(t *testing.T) {
	t.Parallel()
	var busy atomic.Bool
	set := metrics.NewSet()
	s := start(t, store.Config{Dir: t.TempDir(), CheckpointBytes: 50_000, Busy: busy.Load, Metrics: set})
	pad := strings.Repeat("x", 1000)
	checkpoints := func() int {
		var text strings.Builder
		set.WritePrometheus(&text)
		_, after, found := strings.Cut(text.String(), "picloud_checkpoints_total ")
		var n int
		if _, err := fmt.Sscan(after, &n); !found || err != nil {
			t.Fatalf("no count of checkpoints: %v", err)
		}
		return n
	}
	during := func() int {
		before := checkpoints()
		for i := range 400 {
			publish(t, s, "default", "t", fmt.Sprintf(`"%d %s"`, i, pad))
		}
		return checkpoints() - before
	}
	usual := during()
	busy.Store(true)
	if spared := during(); spared > usual*2/3 || spared == 0 {
		t.Errorf("%d checkpoints, %d at other times", spared, usual)
	}
}
