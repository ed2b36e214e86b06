package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal/journaltest"
	"github.com/picloud/picloud/store"
)

// Promise 1: each operation on the journal's disk fails once, and then the power
// is cut. Whatever was answered is there, in order and once; and a store that
// cannot go on says so by ending, rather than refuse for ever.
func TestEveryFaultOfTheDisk(t *testing.T) {
	t.Parallel()
	step := int64(1)
	if testing.Short() {
		step = 17
	}
	for n := int64(1); ; n += step {
		fs := journaltest.New()
		var count atomic.Int64
		fs.SetFault(func(string, string) error {
			if count.Add(1) == n {
				return syscall.EIO
			}
			return nil
		})
		cfg := store.Config{
			Dir: t.TempDir(), JournalFS: fs, ReserveBytes: -1,
			SegmentSize: 64 << 10, JournalBytes: 200 << 10, CheckpointBytes: 60 << 10,
		}
		acked := publishUntilItEnds(t, cfg)
		if count.Load() < n {
			return // every operation has had its turn
		}
		fs.SetFault(nil)
		cfg.JournalFS = fs.Crash(rand.New(rand.NewPCG(uint64(n), 7))) // #nosec G115 G404 -- small; a test
		s := start(t, cfg)
		if h := s.Health(); h.Degraded {
			t.Errorf("fault %d: a loss was found: %v", n, h.Notes)
		}
		kept, err := s.Events(t.Context(), picloud.HistoryQuery{App: "default", Topics: []string{"t"}})
		if err != nil {
			t.Fatalf("fault %d: %v", n, err)
		}
		for i, e := range kept.Events {
			if e.Seq != kept.Events[0].Seq+uint64(i) || !strings.HasPrefix(string(e.Data), fmt.Sprintf(`"%d `, e.Seq)) { // #nosec G115 -- small
				t.Fatalf("fault %d: event %d is %.20q, after %d events from %d on", n, e.Seq, e.Data, i, kept.Events[0].Seq)
			}
		}
		if acked > 0 && (len(kept.Events) == 0 || kept.Events[len(kept.Events)-1].Seq < acked) {
			t.Fatalf("fault %d: %d was acknowledged, %d events are there", n, acked, len(kept.Events))
		}
		if e := publish(t, s, "default", "t", `"again"`)[0]; e.Seq <= acked {
			t.Errorf("fault %d: position %d is used twice", n, e.Seq)
		}
		s.stop(t)
	}
}

// publishUntilItEnds publishes over some segments and returns the newest
// position that was answered.
func publishUntilItEnds(t *testing.T, cfg store.Config) (acked uint64) {
	t.Helper()
	s, err := store.Open(cfg)
	if err != nil {
		return 0
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	pad := strings.Repeat("x", 4000)
	for i := range 70 {
		p := picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "t", Data: fmt.Appendf(nil, `"%d %s"`, i+1, pad)}}}
		events, err := s.Publish(t.Context(), p)
		if err == nil {
			acked = events[0].Seq
			continue
		}
		if errors.Is(err, picloud.ErrNoSpace) {
			break
		}
		select {
		case err := <-ended:
			if err == nil {
				t.Error("the store ended after a fault as if nothing had happened")
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("the store refuses (%v) and does not end", err)
		}
		cancel()
		_ = s.Close() // the disk has failed
		return acked
	}
	cancel()
	<-ended       // may be what failed
	_ = s.Close() // as well
	return acked
}

// A fault in what the store does by itself ends it as well, with nobody asking
// for anything.
func TestFaultWithoutACallerEndsTheStore(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"write", "sync"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			endsByItself(t, op)
		})
	}
}

// endsByItself makes an operation fail from the moment on at which all that was
// asked for is done.
func endsByItself(t *testing.T, failing string) {
	t.Helper()
	fs := journaltest.New()
	s, err := store.Open(store.Config{
		Dir: t.TempDir(), JournalFS: fs, ReserveBytes: -1, SegmentSize: 64 << 10, JournalBytes: 200 << 10,
		CheckpointAfter: 500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	data := []byte(`"` + strings.Repeat("x", 4000) + `"`)
	for range 100 {
		if _, err := s.Publish(t.Context(), picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "t", Data: data}}}); err != nil {
			t.Fatal(err)
		}
	}
	fs.SetFault(func(op, _ string) error { // met first by what is written before old segments are dropped
		if op == failing {
			return syscall.EIO
		}
		return nil
	})
	select {
	case err := <-ended:
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the store goes on after its disk has failed")
	}
	_ = s.Close() // the disk has failed
}
