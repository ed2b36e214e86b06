package hw

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// at is a level at a time.
type at struct {
	ms   int
	on   bool
	lost int
}

// happened is an occurrence as tests write it down.
type happened struct {
	At      int
	On      bool
	Initial bool
	Count   int
	Missed  int
	Gesture string
	Total   int
	Over    int // milliseconds
}

// tells feeds a signal and returns what it tells by a time.
func tells(p PinConfig, begin bool, edges []at, until int) []happened {
	s := newSignal(&p)
	s.start(ms(0), begin)
	for _, e := range edges {
		s.edge(edge{at: ms(e.ms), on: e.on, missed: e.lost})
	}
	s.advance(ms(until))
	var list []happened
	for _, o := range s.take(nil) {
		list = append(list, happened{
			At: int(o.at.Sub(day) / time.Millisecond), On: o.on, Initial: o.initial, Count: o.count, Missed: o.missed, Gesture: o.gesture,
			Total: int(o.total), Over: int(o.elapsed / time.Millisecond),
		})
	}
	return list
}

func presses(times ...int) (list []at) {
	for i, t := range times {
		list = append(list, at{ms: t, on: i%2 == 0})
	}
	return list
}

// HW-2: inputs of every kind tell what they are asked for.
func TestSignals(t *testing.T) {
	t.Parallel()
	const msec = time.Millisecond
	edges := PinConfig{Kind: KindEdges, Edges: EdgesBoth}
	button := PinConfig{Kind: KindButton, Debounce: 20 * msec}
	counter := PinConfig{Kind: KindCounter, Edges: EdgesRising, Every: time.Second}
	with := func(p PinConfig, change func(p *PinConfig)) PinConfig {
		change(&p)
		return p
	}
	gesture := func(at int, name string) happened { return happened{At: at, Gesture: name, Count: 1} }
	for name, c := range map[string]struct {
		pin   PinConfig
		begin bool
		edges []at
		until int
		want  []happened
	}{
		"both edges": {edges, true, presses(5, 6, 7)[1:], 9, []happened{{On: true, Initial: true}, {At: 6, Count: 1}, {At: 7, On: true, Count: 1}}},
		"rising": {
			with(edges, func(p *PinConfig) { p.Edges = EdgesRising }), false, presses(5, 6, 7), 9,
			[]happened{{Initial: true}, {At: 5, On: true, Count: 1}, {At: 7, On: true, Count: 1}},
		},
		"falling":    {with(edges, func(p *PinConfig) { p.Edges = EdgesFalling }), false, presses(5, 6, 7), 9, []happened{{Initial: true}, {At: 6, Count: 1}}},
		"lost edges": {edges, false, []at{{5, true, 0}, {6, true, 7}}, 9, []happened{{Initial: true}, {At: 5, On: true, Count: 1}, {At: 6, On: true, Count: 1, Missed: 7}}},
		"lost edges before one that is not told": {
			with(edges, func(p *PinConfig) { p.Edges = EdgesRising }), false,
			[]at{{5, false, 3}, {6, true, 1}},
			9,
			[]happened{{Initial: true}, {At: 6, On: true, Count: 1, Missed: 4}},
		},
		"rate limit": {
			with(edges, func(p *PinConfig) { p.MinInterval = 100 * msec }), false, presses(150, 160, 170, 180, 190, 400), 600,
			[]happened{{Initial: true}, {At: 150, On: true, Count: 1}, {At: 190, On: true, Count: 4}, {At: 400, Count: 1}},
		},
		"rate limit over the initial level": {with(edges, func(p *PinConfig) { p.MinInterval = 100 * msec }), false, presses(50), 600, []happened{{Initial: true}, {At: 50, On: true, Count: 1}}},
		"rate limit, not over":              {with(edges, func(p *PinConfig) { p.MinInterval = 100 * msec }), false, presses(150, 160), 249, []happened{{Initial: true}, {At: 150, On: true, Count: 1}}},
		"older than decided":                {with(edges, func(p *PinConfig) { p.Debounce = 20 * msec }), false, []at{{5, true, 0}, {30, false, 0}, {29, true, 0}}, 99, []happened{{Initial: true}, {At: 5, On: true, Count: 1}}},

		"press at once":              {button, false, presses(100, 160), 120, []happened{gesture(100, "press")}},
		"not before it is still":     {button, false, presses(100), 119, nil},
		"presses at once":            {button, false, presses(100, 130, 160, 190), 999, []happened{gesture(100, "press"), gesture(160, "press")}},
		"down at the start":          {with(button, func(p *PinConfig) { p.Hold = time.Second }), true, presses(0, 50)[1:], 9999, nil},
		"press, where it can hold":   {with(button, func(p *PinConfig) { p.Hold = time.Second }), false, presses(100, 300), 320, []happened{gesture(100, "press")}},
		"hold while it is down":      {with(button, func(p *PinConfig) { p.Hold = time.Second }), false, presses(100), 1100, []happened{gesture(100, "hold")}},
		"hold is no press":           {with(button, func(p *PinConfig) { p.Hold = time.Second }), false, presses(100, 5000), 9999, []happened{gesture(100, "hold")}},
		"double":                     {with(button, func(p *PinConfig) { p.Double = 400 * msec }), false, presses(100, 160, 300, 360), 9999, []happened{gesture(300, "double")}},
		"double is told at once":     {with(button, func(p *PinConfig) { p.Double = 400 * msec }), false, presses(100, 160, 300), 320, []happened{gesture(300, "double")}},
		"press, where it can double": {with(button, func(p *PinConfig) { p.Double = 400 * msec }), false, presses(100, 160), 500, []happened{gesture(100, "press")}},
		"too slow for double":        {with(button, func(p *PinConfig) { p.Double = 400 * msec }), false, presses(100, 160, 500, 560), 9999, []happened{gesture(100, "press"), gesture(500, "press")}},
		"three presses":              {with(button, func(p *PinConfig) { p.Double = 400 * msec }), false, presses(100, 140, 180, 220, 260, 300), 9999, []happened{gesture(180, "double"), gesture(260, "press")}},
		"all gestures": {
			with(button, func(p *PinConfig) { p.Hold, p.Double = time.Second, 400*msec }), false, presses(100, 200, 1000, 1100, 1200, 1300, 3000, 5000, 6000, 6450), 9999,
			[]happened{gesture(100, "press"), gesture(1200, "double"), gesture(3000, "hold"), gesture(6000, "press")},
		},

		"counter": {
			counter, false, presses(100, 150, 200, 250, 2500, 2600), 9999,
			[]happened{{At: 1000, Total: 2, Count: 2, Over: 1000}, {At: 2000, Total: 2, Over: 1000}, {At: 3000, Total: 3, Count: 1, Over: 1000}, {At: 4000, Total: 3, Over: 1000}},
		},
		"counter of lost pulses": {counter, false, []at{{100, true, 0}, {200, true, 8}}, 1000, []happened{{At: 1000, Total: 10, Count: 10, Over: 1000}}},
		"counter that bounces": {
			with(counter, func(p *PinConfig) { p.Debounce = 5 * msec }), false, append(presses(100, 101, 102, 150, 151, 152), at{990, true, 3}), 2000,
			[]happened{{At: 1000, Total: 2, Count: 2, Missed: 3, Over: 1000}, {At: 2000, Total: 2, Over: 1000}},
		},
		"counter at rest": {counter, false, nil, 99999, nil},
	} {
		if name == "counter" { // without debouncing a line tells the counted edges alone
			c.edges = []at{c.edges[0], c.edges[2], c.edges[4]}
		}
		if diff := cmp.Diff(c.want, tells(c.pin, c.begin, c.edges, c.until), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// HW-2: what a signal tells does not depend on when it is asked.
func TestSignalsDoNotDependOnTheWatch(t *testing.T) {
	t.Parallel()
	for _, p := range []PinConfig{
		{Kind: KindEdges, Edges: EdgesBoth, Debounce: 3 * time.Millisecond, MinInterval: 20 * time.Millisecond},
		{Kind: KindButton, Debounce: 2 * time.Millisecond, Hold: 30 * time.Millisecond, Double: 15 * time.Millisecond},
		{Kind: KindCounter, Edges: EdgesFalling, Debounce: 2 * time.Millisecond, Every: 40 * time.Millisecond},
	} {
		edges := presses(5, 6, 7, 15, 16, 40, 44, 90, 91, 92, 110, 115, 117, 121, 180, 181, 182, 220, 240, 260)
		want := tells(p, false, edges, 500)
		s, next := newSignal(&p), 0
		s.start(ms(0), false)
		var got []occurrence
		for now := range 501 {
			s.advance(ms(now))
			if next < len(edges) && edges[next].ms == now {
				s.edge(edge{at: ms(now), on: edges[next].on})
				next++
			}
			got = s.take(got)
		}
		if len(got) != len(want) || len(want) < 3 {
			t.Errorf("%s: %d occurrences, want %d", p.Kind, len(got), len(want))
			continue
		}
		for i, o := range got {
			if int(o.at.Sub(day)/time.Millisecond) != want[i].At || o.on != want[i].On || o.count != want[i].Count || o.gesture != want[i].Gesture {
				t.Errorf("%s, %d: %+v, want %+v", p.Kind, i, o, want[i])
			}
		}
	}
}

// HW-2: what is not taken is not heaped up; the newest stands for the rest, and no edge
// is left out of the numbers.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	s := newSignal(&PinConfig{Kind: KindEdges, Edges: EdgesBoth})
	s.start(ms(0), false)
	for i := range 10_000 {
		s.edge(edge{at: ms(1 + i), on: i%2 == 0, missed: 1})
	}
	list := s.take(nil)
	last, count, missed := list[len(list)-1], 0, 0
	for _, o := range list {
		count += o.count
		missed += o.missed
	}
	if len(list) != maxQueue || last.on || !last.at.Equal(ms(10_000)) || count != 10_000 || missed != 10_000 {
		t.Errorf("%d occurrences for %d edges and %d lost ones; the last is %+v", len(list), count, missed, last)
	}
}

// The total of a counter goes on after a silence of any length, in the same intervals.
func TestCounterAfterSilence(t *testing.T) {
	t.Parallel()
	got := tells(PinConfig{Kind: KindCounter, Edges: EdgesRising, Every: time.Second}, false, []at{{86_400_500, true, 0}}, 86_401_000)
	if diff := cmp.Diff([]happened{{At: 86_401_000, Total: 1, Count: 1, Over: 1000}}, got); diff != "" {
		t.Error(diff)
	}
}
