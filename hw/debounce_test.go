package hw

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// day is where the times of these tests begin.
var day = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func ms(n int) time.Time { return day.Add(time.Duration(n) * time.Millisecond) }

// told is a change as tests write it down.
type told struct {
	At, Known int // milliseconds
	On        bool
}

func writeDown(c change) told {
	return told{At: int(c.at.Sub(day) / time.Millisecond), Known: int(c.known.Sub(day) / time.Millisecond), On: c.on}
}

// debounced feeds levels, from off, at times in rising milliseconds.
func debounced(period time.Duration, edges []told) (list []told) {
	d := debouncer{period: period}
	for _, e := range edges {
		if c, changed := d.edge(ms(e.At), e.On); changed {
			list = append(list, writeDown(c))
		}
	}
	if c, changed := d.advance(ms(1 << 30)); changed {
		list = append(list, writeDown(c))
	}
	return list
}

// slowly is an obvious debouncer: it looks at the level in each millisecond.
func slowly(period int, edges []told) (list []told) {
	if len(edges) == 0 {
		return nil
	}
	on, level, began, moved := false, false, -1, 0
	for now, last := 0, edges[len(edges)-1].At+period; now <= last; now++ {
		if began >= 0 && now-moved == period {
			if level != on {
				on = level
				list = append(list, told{At: began, Known: now, On: on})
			}
			began = -1
		}
		for _, e := range edges {
			if e.At == now {
				if level != e.On && began < 0 {
					began = now
				}
				level, moved = e.On, now
			}
		}
	}
	return list
}

// HW-2: a contact that bounces for 20 ms gives one change, with the first edge's time; a
// spike gives none, and neither does a contact that never is still.
func TestDebounce(t *testing.T) {
	t.Parallel()
	train := func(from, n, apart int, on bool) (list []told) {
		for i := range n {
			list = append(list, told{At: from + i*apart, On: on == (i%2 == 0)})
		}
		return list
	}
	for name, c := range map[string]struct {
		period int
		edges  []told
		want   []told
	}{
		"no bounce":          {20, []told{{At: 5, On: true}}, []told{{5, 25, true}}},
		"bounces for 20 ms":  {20, train(5, 21, 1, true), []told{{5, 45, true}}},
		"bounces both ways":  {20, append(train(5, 11, 2, true), train(205, 11, 2, false)...), []told{{5, 45, true}, {205, 245, false}}},
		"spike":              {20, []told{{At: 5, On: true}, {At: 24}}, nil},
		"spike before":       {20, []told{{At: 5, On: true}, {At: 6}, {At: 20, On: true}}, []told{{5, 40, true}}},
		"spike of a contact": {20, []told{{At: 5, On: true}, {At: 100}, {At: 119, On: true}}, []told{{5, 25, true}}},
		"still to the edge":  {20, []told{{At: 5, On: true}, {At: 25}}, []told{{5, 25, true}, {25, 45, false}}},
		"never still":        {20, train(5, 1000, 19, true), nil},
		"lost edges":         {20, []told{{At: 5, On: true}, {At: 8, On: true}}, []told{{5, 28, true}}},
		"no period":          {0, train(5, 3, 1, true), []told{{5, 5, true}, {6, 6, false}, {7, 7, true}}},
	} {
		got := debounced(time.Duration(c.period)*time.Millisecond, c.edges)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if c.period == 0 {
			continue
		}
		if diff := cmp.Diff(c.want, slowly(c.period, c.edges)); diff != "" {
			t.Errorf("the obvious one differs: %s:\n%s", name, diff)
		}
	}
}

// HW-2: debouncing by the times of the edges is the same as looking all the time,
// whatever the edges are, and whenever it is asked between.
func TestDebounceIsAsLookingAllTheTime(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		period, now := 1+r.IntN(12), 0
		var edges []told
		for range r.IntN(40) {
			now += 1 + r.IntN(2*period)
			edges = append(edges, told{At: now, On: r.IntN(4) > 0 == (len(edges)%2 == 0)})
		}
		want := slowly(period, edges)
		if got := debounced(time.Duration(period)*time.Millisecond, edges); !slices.Equal(got, want) {
			t.Fatalf("seed %d, period %d, edges %v:\ngot  %v\nwant %v", seed, period, edges, got, want)
		}
		var asked []told
		d := debouncer{period: time.Duration(period) * time.Millisecond}
		for at, next := 0, 0; at <= now+period; at++ {
			if c, changed := d.advance(ms(at)); changed {
				asked = append(asked, writeDown(c))
			}
			if next < len(edges) && edges[next].At == at {
				if _, changed := d.edge(ms(at), edges[next].On); changed {
					t.Fatal("an edge made known what had been asked for before")
				}
				next++
			}
		}
		if !slices.Equal(asked, want) {
			t.Fatalf("asked all the time, seed %d: %v, want %v", seed, asked, want)
		}
	}
}

func FuzzDebounce(f *testing.F) {
	f.Add(uint8(20), []byte{5, 1, 1, 1, 200, 3, 3, 255})
	f.Fuzz(func(t *testing.T, period uint8, gaps []byte) {
		p, now := 1+int(period), 0
		var edges []told
		for i, gap := range gaps[:min(len(gaps), 64)] {
			now += 1 + int(gap>>1)
			edges = append(edges, told{At: now, On: (i%2 == 0) != (gap&1 == 1)})
		}
		if got, want := debounced(time.Duration(p)*time.Millisecond, edges), slowly(p, edges); !slices.Equal(got, want) {
			t.Fatalf("period %d, edges %v:\ngot  %v\nwant %v", p, edges, got, want)
		}
	})
}
