package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/picloud/picloud"
)

func (q *intake) fill(t *testing.T, app string, sizes ...int64) {
	t.Helper()
	for _, size := range sizes {
		if err := q.put(&command{app: app, size: size}); err != nil {
			t.Fatalf("%s, %d bytes: %v", app, size, err)
		}
	}
}

// SR-2: commands of an app that asks for little come soon, whatever waits of others.
func TestAppsTakeTurns(t *testing.T) {
	t.Parallel()
	many := func(n int, size int64) (sizes []int64) {
		for range n {
			sizes = append(sizes, size)
		}
		return sizes
	}
	for name, greedy := range map[string][]int64{
		"small": many(900, 100), "large": many(100, 110_000), "without data": many(900, 0), "the largest": many(7, 1<<20),
	} {
		for _, apps := range []int{1, 3} {
			q := newIntake(4096, 64<<20)
			for i := range apps {
				q.fill(t, fmt.Sprint("greedy", i), greedy...)
			}
			for range 5 { // in the middle of a turn, too
				q.take()
			}
			q.fill(t, "calm", 300)
			before, turns := int64(0), int64(0)
			for c := q.take(); c.app != "calm"; c = q.take() {
				before += c.cost()
				turns++
			}
			if most := int64(apps) * (turnBytes + greedy[0]); before > most {
				t.Errorf("%s, %d apps: %d commands of %d bytes came first, at most %d was expected", name, apps, turns, before, most)
			}
		}
	}
}

// Apps with the same to do get the same, whatever the size of their commands.
func TestTurnsAreFair(t *testing.T) {
	t.Parallel()
	q := newIntake(1<<22, 1<<40)
	sizes := map[string]int64{"small": 200, "medium": 9_000, "large": 300_000}
	for app, size := range sizes {
		for have := int64(0); have < 100<<20; have += size {
			q.fill(t, app, size)
		}
	}
	got := map[string]int64{}
	for total := int64(0); total < 60<<20; {
		c := q.take()
		total += c.cost()
		got[c.app] += c.cost()
	}
	for app, n := range got {
		if n < 19<<20 || n > 21<<20 {
			t.Errorf("%s got %d of 60 MiB", app, n)
		}
	}
}

// SR-2, PB-7: what waits is bounded, and n apps with too much of it leave 1/(n+1).
func TestGreedyLinesLeaveRoom(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 1000} {
		q := newIntake(1000, 1_000_000)
		for n := range 4 {
			app := fmt.Sprint("greedy", n)
			var err error
			had := 0
			for ; err == nil; had++ {
				err = q.put(&command{app: app, size: size})
			}
			if !errors.Is(err, picloud.ErrBusy) {
				t.Fatal(err)
			}
			if least := 1000 / (1 << (n + 1)); had < least-1 {
				t.Errorf("%s had room for %d, expected %d", app, had, least)
			}
		}
		q.fill(t, "calm", size)
	}
}

// Whoever puts and takes at once: each command comes once, those of an app in order, and
// the committer is told of each.
func TestIntakeLosesNothing(t *testing.T) {
	t.Parallel()
	q := newIntake(64, 1<<16)
	const apps, each = 5, 2_000
	var group sync.WaitGroup
	for a := range apps {
		group.Go(func() {
			for i := 0; i < each; {
				c := &command{app: fmt.Sprint(a), size: rand.Int64N(1000)} // #nosec G404 -- sizes
				c.publication.IdempotencyKey = fmt.Sprint(i)
				if q.put(c) == nil {
					i++
				}
			}
		})
	}
	next := map[string]int{}
	for range apps * each {
		c := q.take()
		for ; c == nil; c = q.take() {
			<-q.come
		}
		if c.publication.IdempotencyKey != fmt.Sprint(next[c.app]) {
			t.Fatalf("of %s came %s instead of %d", c.app, c.publication.IdempotencyKey, next[c.app])
		}
		next[c.app]++
	}
	group.Wait()
	if commands, bytes := q.waiting(); commands != 0 || bytes != 0 || q.first != nil {
		t.Errorf("at rest %d commands of %d bytes wait", commands, bytes)
	}
}

// order is a broadcaster that notes whose events come.
type order struct{ apps []string }

func (o *order) Broadcast(events []picloud.Event) {
	for _, e := range events {
		o.apps = append(o.apps, e.App)
	}
}

func (o *order) Revoke(picloud.Revocation) {}

// SR-2: an event of another app is heard before most of what a flood has brought earlier.
func TestFloodLetsOthersPass(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, stop := open(t, dir)
	if _, err := s.CreateApp(t.Context(), picloud.App{Name: "calm"}); err != nil {
		t.Fatal(err)
	}
	stop()
	heard := new(order)
	s, err := Open(Config{Dir: dir, ReserveBytes: -1, Broadcaster: heard})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	publish := func(app string, events int) { // returns when it waits
		p := picloud.Publication{App: app, By: picloud.LocalOperator()}
		for range events {
			p.Drafts = append(p.Drafts, picloud.Draft{Topic: "t", Data: []byte("1")})
		}
		before, _ := s.intake.waiting()
		group.Go(func() {
			if _, err := s.Publish(t.Context(), p); err != nil {
				t.Error(err)
			}
		})
		for n := before; n == before; n, _ = s.intake.waiting() {
			runtime.Gosched()
		}
	}
	const batches, size = 40, 1000
	for range batches {
		publish("default", size)
	}
	publish("calm", 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	group.Wait()
	cancel()
	if err := errors.Join(<-ended, s.Close()); err != nil {
		t.Error(err)
	}
	if at := slices.Index(heard.apps, "calm"); at < 0 || at > 2*size {
		t.Errorf("the event of the calm app was heard after %d of %d", at, len(heard.apps))
	}
}
