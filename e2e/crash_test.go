package e2e

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Whatever was acknowledged is there after kill -9, and so is whatever a
// subscriber has seen; order is kept, nothing is doubled, a repeat under an
// idempotency key answers the first result, and subscribers resume without a
// gap. Topics and keys are as acknowledged, and a backup that was finished
// restores. (PB-1, PB-3, PB-4, PB-9, RT-6, AU-2, TP-1, FI-1, OP-6)
func TestCrash(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	l := newLoad(t, n)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	followCtx, stopFollowing := context.WithTimeout(t.Context(), 30*time.Minute)
	defer stopFollowing()

	var mu sync.Mutex
	stopAt := ""
	until := func() string { mu.Lock(); defer mu.Unlock(); return stopAt }
	followed := map[string][]string{
		"one topic":   {"load/single"},
		"many topics": {"load/single", "load/batch", "load/idem", telemetryTopic},
	}
	var followers sync.WaitGroup
	for name, topics := range followed {
		followers.Go(func() { l.follow(followCtx, name, topics, until) })
	}
	wait := l.start(ctx)
	a := newAdmin(t, n)
	saved := l.backUp(ctx)
	rounds := howOften(t, "PICLOUD_E2E_ROUNDS", 25)

	for round := range rounds {
		var changes sync.WaitGroup
		changes.Go(func() { a.run(ctx) })
		pause(t.Context(), time.Duration(20+rand.IntN(230))*time.Millisecond)
		n.kill()
		changes.Wait()
		n.start()
		for _, f := range append(a.settle(), a.faults...) {
			t.Error(f)
		}
		if round%10 == 9 {
			l.check()
		}
		if t.Failed() {
			t.Fatalf("in round %d\n%s", round, n.process().log)
		}
	}

	cancel()
	wait()
	l.checkBackup(saved())
	// One more event on the topic that both follow tells them where to stop.
	var end receipt
	n.do(201, &end, "POST", "/v1/apps/default/topics/load%2Fsingle/events", l.key, encode(payload{"end", 0}))
	mu.Lock()
	stopAt = end.ID
	mu.Unlock()
	done := make(chan struct{})
	go func() { followers.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		stopFollowing()
		<-done
		t.Error("the subscribers did not reach the last event within a minute")
	}
	l.check()
	for name, topics := range followed {
		l.complete(name, topics)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("%d rounds: %d events acknowledged, %d telemetry events announced", rounds, len(l.acked), len(l.announced))
	if len(l.acked) == 0 || len(l.announced) == 0 {
		t.Error("the load did nothing: this run proves nothing")
	}
}

// SIGTERM under load: no acknowledged event is lost, telemetry included, and
// every subscriber gets bye. (RT-9)
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	l := newLoad(t, n)
	for round := range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		wait := l.start(ctx)
		s := n.subscribe(l.key, "/v1/apps/default/events?lossless=1&topic="+strings.Join(crashTopics, "&topic="))
		s.want(t, "hello")
		var last frame
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for f := range s.frames {
				if f.Comment == "" {
					last = f
				}
			}
		}()
		pause(t.Context(), 300*time.Millisecond)
		if code := n.stop(); code != 0 {
			t.Errorf("round %d: exit code %d after SIGTERM\n%s", round, code, n.process().log)
		}
		cancel()
		wait()
		<-ended
		if last.Event != "bye" {
			t.Errorf("round %d: the stream ended with %+v, not with bye", round, last)
		}
		n.start()
		l.check()
		// A clean stop loses nothing at all.
		history := n.history(l.key, "default", telemetryTopic)
		for id := range l.announced {
			if !slices.ContainsFunc(history, func(e event) bool { return e.ID == id }) {
				t.Errorf("round %d: telemetry event %s is gone after a clean stop", round, id)
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}
