package budget_test

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud/budget"
)

const bytes = 32 << 20 // of the budgets here: answers have 7 MiB

func newBudget() *budget.Budget { return budget.New(bytes, metrics.NewSet()) }

func party(app, address string) budget.Party {
	p := budget.Party{App: app}
	if address != "" {
		p.Peer = netip.PrefixFrom(netip.MustParseAddr(address), 32)
	}
	return p
}

// drawAll draws in steps until that fails, and returns how much that was.
func drawAll(b *budget.Budget, p budget.Party) (drawn int, err error) {
	for {
		l, err := b.Draw(budget.Answers, p, 64<<10)
		if err != nil {
			return drawn, err
		}
		drawn += l.Bytes()
	}
}

// SR-2: who asks for everything is refused in its own name, and as much as it holds stays
// free for others.
func TestGreedyPartiesLeaveRoom(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		party func(i int) budget.Party
		err   error
	}{
		"apps":                         {func(i int) budget.Party { return party(fmt.Sprint("app", i), "") }, budget.ErrApp},
		"addresses":                    {func(i int) budget.Party { return party("", fmt.Sprint("192.0.2.", i)) }, budget.ErrPeer},
		"addresses that ask many apps": {func(i int) budget.Party { return party(fmt.Sprint("app", i%3), "192.0.2.1") }, budget.ErrPeer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBudget()
			share := b.Share(budget.Answers)
			if name == "addresses that ask many apps" {
				for i := range 3 {
					_, _ = drawAll(b, test.party(i)) // refused in the end
				}
				if _, err := b.Draw(budget.Answers, party("app9", "192.0.2.2"), share/3); err != nil {
					t.Errorf("another address: %v", err)
				}
				return
			}
			for i := range 4 {
				drawn, err := drawAll(b, test.party(i))
				if !errors.Is(err, test.err) {
					t.Errorf("%d: refused with %v, want %v", i, err, test.err)
				}
				free := share - b.Held(budget.Answers)
				if free < drawn-128<<10 || drawn < share/32 {
					t.Errorf("%d: drew %d, left %d of %d", i, drawn, free, share)
				}
			}
			if _, err := b.Draw(budget.Answers, test.party(9), share); !errors.Is(err, budget.ErrTotal) {
				t.Errorf("a newcomer that asks for all: %v", err)
			}
			if _, err := b.Draw(budget.Bodies, test.party(0), 1<<20); err != nil {
				t.Errorf("another holder: %v", err)
			}
		})
	}
}

// IPv6 addresses count by the /64 that their holder has at least.
func TestPeers(t *testing.T) {
	t.Parallel()
	for a, b := range map[string]string{
		"2001:db8:1:2::1": "2001:db8:1:2:ffff::9",
		"fe80::1%eth0":    "fe80::2",
		"192.0.2.1":       "::ffff:192.0.2.1",
	} {
		if budget.PeerOf(netip.MustParseAddr(a)) != budget.PeerOf(netip.MustParseAddr(b)) {
			t.Errorf("%s and %s are two", a, b)
		}
	}
	for a, b := range map[string]string{"2001:db8:1:2::1": "2001:db8:1:3::1", "192.0.2.1": "192.0.2.2"} {
		if budget.PeerOf(netip.MustParseAddr(a)) == budget.PeerOf(netip.MustParseAddr(b)) {
			t.Errorf("%s and %s are one", a, b)
		}
	}
}

// SR-2: apps that each hold one large thing leave room for what is smaller.
func TestLargeThingsLeaveRoom(t *testing.T) {
	t.Parallel()
	b := newBudget()
	share := b.Share(budget.Bodies)
	for i := range 20 {
		_, _ = b.Draw(budget.Bodies, party(fmt.Sprint("app", i), ""), share/5) // refused in the end
	}
	if _, err := b.Draw(budget.Bodies, party("other", ""), share/16); err != nil {
		t.Errorf("a smaller one of another app: %v; %d of %d are held", err, b.Held(budget.Bodies), share)
	}
}

// One thing fits when nothing else is held, however large it is; it has the whole share then.
func TestOneLargeThingFits(t *testing.T) {
	t.Parallel()
	b := newBudget()
	l, err := b.Draw(budget.Runs, party("a", "192.0.2.1"), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Resize(b.Share(budget.Runs)); err != nil {
		t.Fatal(err)
	}
	if err := l.Resize(2 * b.Share(budget.Runs)); err != nil || l.Bytes() != b.Share(budget.Runs) {
		t.Errorf("more than there is: %v, holds %d", err, l.Bytes())
	}
	l.Release()
	l.Release()
	if n := b.Held(budget.Runs); n != 0 {
		t.Errorf("%d bytes are held", n)
	}
}

// The zero Lease has no budget: it can be released.
func TestZeroLease(t *testing.T) {
	t.Parallel()
	var l budget.Lease
	l.Set(3)
	l.Release()
	if l.Bytes() != 0 {
		t.Error("it holds something")
	}
}

// SR-1: whatever is done, in any order, what is held is what the leases hold, a share is
// not overdrawn by what asks, and at rest every holder has zero.
func FuzzLeases(f *testing.F) {
	f.Add([]byte{0x10, 0x93, 0x27, 0xff, 0x00, 0x45, 0x81})
	f.Fuzz(func(t *testing.T, steps []byte) {
		b := newBudget()
		var leases [8]budget.Lease
		for i := range leases {
			leases[i] = b.Lease(budget.Holder(i%4), party(fmt.Sprint(i%3), fmt.Sprint("192.0.2.", i%2)))
		}
		forced := [4]bool{}
		for i, step := range steps {
			l := &leases[step%8]
			was, want := l.Bytes(), int(step)*(i%7)<<12
			switch {
			case step >= 0xf0:
				l.Release()
			case step >= 0xe0:
				l.Set(want)
				forced[step%4] = true
			case step%2 == 0 && step >= 0x80:
				if !l.Try(want) && l.Bytes() != was {
					t.Fatalf("a lease without room has %d bytes and had %d", l.Bytes(), was)
				}
			default:
				if err := l.Resize(want); err != nil && l.Bytes() != was {
					t.Fatalf("a refused lease has %d bytes and had %d", l.Bytes(), was)
				} else if share := b.Share(budget.Holder(int(step % 8 % 4))); err == nil && l.Bytes() != min(want, share) {
					t.Fatalf("it has %d bytes, want %d", l.Bytes(), want)
				}
			}
			var held [4]int
			for i := range leases {
				held[i%4] += leases[i].Bytes()
			}
			for h := range budget.Holder(4) {
				if b.Held(h) != held[h] || held[h] > b.Share(h) && !forced[h] {
					t.Fatalf("%v: %d held, the leases have %d, its share is %d", h, b.Held(h), held[h], b.Share(h))
				}
			}
		}
		for i := range leases {
			leases[i].Release()
		}
		for _, u := range b.Usage() {
			if u.Held != 0 {
				t.Errorf("at rest %s holds %d", u.Holder, u.Held)
			}
		}
	})
}

// SR-1: the counts are right with many goroutines.
func TestConcurrentDraws(t *testing.T) {
	t.Parallel()
	b := newBudget()
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			for k := range 2000 {
				l, err := b.Draw(budget.Streams, party(fmt.Sprint(i%5), fmt.Sprint("192.0.2.", i%3)), (k%64)<<12)
				if err == nil {
					_ = l.Resize(k % 999 << 10) // may be refused
				}
				l.Release()
			}
		})
	}
	group.Wait()
	if n := b.Held(budget.Streams); n != 0 {
		t.Errorf("%d bytes are held at rest", n)
	}
}

// A draw and a release are on the way of each larger request.
func BenchmarkDraw(b *testing.B) {
	all, p := newBudget(), party("default", "192.0.2.1")
	for b.Loop() {
		l, err := all.Draw(budget.Bodies, p, 8<<10)
		if err != nil {
			b.Fatal(err)
		}
		l.Release()
	}
}
