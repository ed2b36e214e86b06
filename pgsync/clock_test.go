package pgsync_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/pgsync"
	"github.com/picloud/picloud/pgsync/pgtest"
	"github.com/picloud/picloud/store"
)

// HW-7: the clock is an hour and more off. What was copied with the wrong time is
// put right in the tables when the board has learnt the right one.
func TestWrongTimesAreCorrected(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	var mu sync.Mutex
	boot, wrong, synced := time.Now().Add(-time.Hour), -90*time.Minute, false
	st, err := store.Open(store.Config{
		Dir: t.TempDir(), ReserveBytes: -1, Readers: []string{picloud.Central},
		Now: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(wrong)
		},
		Clock: func() store.Clock {
			mu.Lock()
			defer mu.Unlock()
			return store.Clock{Synced: synced, Boot: "boot", Uptime: time.Since(boot)}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- st.Run(ctx) }()
	n := &node{Store: st, lane: dispatch.New(dispatch.Config{Name: picloud.Central, Journal: st, Consumer: pgsync.New(pgsync.Config{
		URL: func() (string, error) { return url, nil }, Local: st, Place: "here", Migrate: true,
	})})}
	laneCtx, stopLane := context.WithCancel(context.Background())
	go func() { ended <- n.lane.Run(laneCtx) }()
	defer func() {
		stopLane()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	began := time.Now()
	n.publish(t, "a", "1", "2")
	n.drained(t)
	same(t, pgtest.Query(t, url, "SELECT data::text, clock, published_at < now() - interval '89 minutes' FROM picloud.events ORDER BY lsn"), []string{"1 unsynced true", "2 unsynced true"})
	n.publish(t, "a", "3")
	mu.Lock()
	wrong, synced = 0, true
	mu.Unlock()
	n.publish(t, "a", "4")
	n.drained(t)
	same(t, pgtest.Query(t, url, "SELECT data::text, clock, published_at BETWEEN $1::timestamptz - interval '1 second' AND now() + interval '1 second' FROM picloud.events ORDER BY lsn", began),
		[]string{"1 corrected true", "2 corrected true", "3 corrected true", "4 synced true"})
}
