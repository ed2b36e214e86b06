package hw

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/board"
)

// desk takes what inputs publish and note. The real store cannot wait in a bubble of
// synctest; e2e has it.
type desk struct {
	mu     sync.Mutex // guards what follows
	fault  error      // of publishing
	events []string   // SOURCE TOPIC DATA
	edges  []time.Time
	tries  int
	notes  map[string]string
	topics map[string]picloud.Durability
	newest []byte
	bad    []string // totals that were published before they were noted
}

func newDesk() *desk {
	return &desk{notes: map[string]string{}, topics: map[string]picloud.Durability{}}
}

func (d *desk) Publish(_ context.Context, p picloud.Publication) ([]picloud.Event, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tries++
	if d.fault != nil {
		return nil, d.fault
	}
	if !picloud.Can(p.By, picloud.AppPublish, p.App) || picloud.Can(p.By, picloud.AppPublish, p.App+"x") {
		return nil, errors.New("the device may publish where it should not, or not where it should")
	}
	for _, draft := range p.Drafts {
		d.events = append(d.events, p.By.Source()+" "+draft.Topic+" "+string(draft.Data))
		if draft.Edge != nil {
			d.edges = append(d.edges, *draft.Edge)
		}
		var data struct{ Total *uint64 }
		if json.Unmarshal(draft.Data, &data) == nil && data.Total != nil && fmt.Sprint(*data.Total) != d.notes["hw.counter."+p.App+"."+p.By.Name] {
			d.bad = append(d.bad, string(draft.Data))
		}
	}
	return nil, nil
}

func (d *desk) Note(name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return []byte(d.notes[name])
}

func (d *desk) SetNote(_ context.Context, name string, value []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notes[name] = string(value)
	return nil
}

func (d *desk) Newest(context.Context, string, string) ([]byte, error) { return d.newest, nil }

func (d *desk) EnsureTopic(_ context.Context, t picloud.Topic) (picloud.Topic, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.topics[t.App+"/"+t.Name]; !known {
		d.topics[t.App+"/"+t.Name] = t.Durability
	}
	t.Durability = d.topics[t.App+"/"+t.Name]
	return t, nil
}

func (d *desk) failWith(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = err
}

// take returns the events that came since the last call.
func (d *desk) take() []string {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.events
	d.events = nil
	return list
}

// inputs makes a simulated board of inputs that publish to a desk.
func inputs(d *desk, log *bytes.Buffer, pins ...PinConfig) *Board {
	for i := range pins {
		p := &pins[i]
		p.App, p.Name = "a", fmt.Sprint("in", i)
		p.Line = fmt.Sprint("GPIO", i)
		p.Topic = "t"
	}
	cfg := Config{Driver: DriverSim, Pins: pins, Publisher: d, Store: d}
	if log != nil {
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	return New(cfg)
}

// finger presses the first input.
func finger(t *testing.T, b *Board, press board.Press) {
	t.Helper()
	press.App, press.Name = "a", "in0"
	if err := b.Press(t.Context(), press); err != nil {
		t.Error(err)
	}
}

func stamp(at time.Time) string { return at.UTC().Format(picloud.TimeLayout) }

// HW-2, HW-5: edges become events of the device, bounces do not; the event has the first
// edge's time, and the level is told when the node starts.
func TestEdgesBecomeEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		b := inputs(d, nil, PinConfig{Kind: KindEdges, Edges: EdgesBoth, Debounce: 20 * time.Millisecond, Durability: picloud.DurabilityTelemetry, Data: `{ "open": "$on", "way": "$edge", "when": "$at", "n": ["$count"] }`})
		began := time.Now()
		defer running(t, b)()
		want := []string{fmt.Sprintf(`device:in0 t {"open":false,"way":null,"when":%q,"n":[0],"at":%[1]q,"initial":true,"simulated":true}`, stamp(began))}
		if diff := cmp.Diff(want, d.take()); diff != "" {
			t.Error(diff)
		}
		time.Sleep(time.Second)
		pressed := time.Now()
		finger(t, b, board.Press{For: 300 * time.Millisecond, Times: 1, Bounce: 15 * time.Millisecond})
		want = nil
		for i, way := range []string{"rising", "falling"} {
			at := stamp(pressed.Add(time.Duration(i) * 300 * time.Millisecond))
			want = append(want, fmt.Sprintf(`device:in0 t {"open":%t,"way":%q,"when":%q,"n":[1],"at":%[3]q,"simulated":true}`, i == 0, way, at))
		}
		if diff := cmp.Diff(want, d.take()); diff != "" {
			t.Error(diff)
		}
		if known := pressed.Add(34 * time.Millisecond); len(d.edges) != 2 || d.edges[0].Before(known) || d.edges[0].After(known.Add(2*bouncePause)) {
			t.Errorf("measured from %v, want the first from %v, when the contact had been still", d.edges, known)
		}
		if d.topics["a/t"] != picloud.DurabilityTelemetry {
			t.Errorf("topics: %v", d.topics)
		}
		if in := b.Inputs(); len(in) != 1 || in[0].Edges < 20 || in[0].Events != 3 || in[0].Missed != 0 {
			t.Errorf("%+v", in)
		}
	})
}

// HW-2: while publishing fails, the newest event is kept for all of them and tried again,
// ever more seldom; that is told once, and so is the end.
func TestPublishingThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, log := newDesk(), new(bytes.Buffer)
		d.fault = picloud.ErrAppNotFound
		b := inputs(d, log, PinConfig{Kind: KindEdges, Edges: EdgesBoth})
		stop := running(t, b)
		synctest.Wait()
		for range 30 {
			finger(t, b, board.Press{For: 100 * time.Millisecond, Times: 100})
		}
		time.Sleep(time.Hour)
		if d.take() != nil || d.tries < 60 || d.tries > 200 {
			t.Errorf("%d tries in an hour and ten minutes", d.tries)
		}
		on := true
		finger(t, b, board.Press{On: &on})
		pressed := time.Now()
		d.failWith(nil)
		time.Sleep(publishMaxRetry)
		want := []string{fmt.Sprintf(`device:in0 t {"on":true,"at":%q,"count":6001,"simulated":true}`, stamp(pressed))}
		if diff := cmp.Diff(want, d.take()); diff != "" {
			t.Error(diff)
		}
		stop()
		if text := log.String(); strings.Count(text, "cannot be published") != 1 || strings.Count(text, "published again") != 1 || !strings.Contains(text, "no such app") {
			t.Errorf("log:\n%s", text)
		}
	})
}

// HW-2, PB-9: the topic of an input is registered as the input asks for again after it was
// deleted with its app; one that is registered keeps its durability, which is told once.
func TestTopicOfAnInput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, log := newDesk(), new(bytes.Buffer)
		b := inputs(d, log, PinConfig{Kind: KindEdges, Edges: EdgesBoth, Durability: picloud.DurabilityTelemetry})
		stop := running(t, b)
		defer stop()
		synctest.Wait()
		for _, topic := range []map[string]picloud.Durability{{}, {"a/t": picloud.DurabilitySync}, {}} {
			want := picloud.DurabilityTelemetry
			if len(topic) > 0 {
				want = picloud.DurabilitySync
			}
			d.mu.Lock()
			d.topics = topic
			d.mu.Unlock()
			finger(t, b, board.Press{For: time.Millisecond, Times: 2})
			d.take()
			if topic["a/t"] != want {
				t.Errorf("the topic is %q, want %q", topic["a/t"], want)
			}
		}
		if n := strings.Count(log.String(), "another durability"); n != 1 {
			t.Errorf("told %d times:\n%s", n, log)
		}
	})
}

// HW-2: what could not be published is tried once more when the node stops.
func TestLastTryAtTheStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.fault = picloud.ErrBusy
		b := inputs(d, nil, PinConfig{Kind: KindEdges, Edges: EdgesBoth})
		stop := running(t, b)
		time.Sleep(time.Hour)
		finger(t, b, board.Press{For: time.Millisecond, Times: 1})
		d.failWith(nil)
		stop()
		if list := d.take(); len(list) != 3 || !strings.Contains(list[2], `{"on":false,`) {
			t.Errorf("published: %v", list)
		}
	})
}

// HW-2: the rate limit never loses the last state, not when the node stops either.
func TestLastStateIsPublishedAtTheStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		b := inputs(d, nil, PinConfig{Kind: KindEdges, Edges: EdgesBoth, MinInterval: time.Hour})
		stop := running(t, b)
		d.take()
		finger(t, b, board.Press{For: time.Millisecond, Times: 3})
		if list := d.take(); list != nil {
			t.Errorf("published: %v", list)
		}
		stop()
		if list := d.take(); len(list) != 1 || !strings.Contains(list[0], `"on":false`) || !strings.Contains(list[0], `"count":6`) {
			t.Errorf("published: %v", list)
		}
	})
}

// HW-2: a counter goes on from the total that it told last, whether the node was stopped
// or killed, and notes it before it tells it.
func TestTotalOfACounter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		meter := PinConfig{Kind: KindCounter, Edges: EdgesRising, Every: time.Minute}
		b := inputs(d, nil, meter)
		stop := running(t, b)
		synctest.Wait()
		finger(t, b, board.Press{For: 30 * time.Millisecond, Times: 50})
		time.Sleep(time.Minute)
		if list := d.take(); len(list) != 1 || !strings.Contains(list[0], `t {"total":50,"count":50,"rate":0.833333,"at":`) {
			t.Errorf("%v", list)
		}
		time.Sleep(time.Hour)
		if list := d.take(); len(list) != 1 || !strings.Contains(list[0], `{"total":50,"count":0,"rate":0,`) {
			t.Errorf("at rest: %v", list)
		}
		finger(t, b, board.Press{For: 30 * time.Millisecond, Times: 7})
		stop()
		if d.take() != nil || d.notes["hw.counter.a.in0"] != "57" {
			t.Errorf("notes after the stop: %v", d.notes)
		}

		b = inputs(d, nil, meter)
		ctx, kill := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		synctest.Wait()
		finger(t, b, board.Press{For: 30 * time.Millisecond, Times: 3})
		time.Sleep(time.Minute)
		if list := d.take(); len(list) != 1 || !strings.Contains(list[0], `{"total":60,"count":3,`) {
			t.Errorf("after a restart: %v", list)
		}
		finger(t, b, board.Press{For: 30 * time.Millisecond, Times: 3})
		killed := d.notes["hw.counter.a.in0"] // all that is left of it
		kill()
		<-ended
		d.notes["hw.counter.a.in0"] = killed

		defer running(t, inputs(d, nil, meter))()
		if d.take(); len(d.bad) != 0 || d.notes["hw.counter.a.in0"] != "60" {
			t.Errorf("told before it was noted: %v; notes %v", d.bad, d.notes)
		}
	})
}

// HW-2: a counter whose note is gone, as on a card that was restored from Postgres, does
// not begin below what it has told.
func TestTotalOfARestoredCounter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.newest = []byte(`{"pulses":41,"at":"x"}`)
		b := inputs(d, nil, PinConfig{Kind: KindCounter, Edges: EdgesRising, Every: time.Minute, Data: `{"pulses":"$total"}`})
		defer running(t, b)()
		synctest.Wait()
		finger(t, b, board.Press{For: 30 * time.Millisecond, Times: 1})
		time.Sleep(time.Minute)
		if list := d.take(); len(list) != 1 || !strings.Contains(list[0], `{"pulses":42,`) {
			t.Errorf("%v", list)
		}
	})
}

// wreck is a simulated board whose chip can be pulled out.
type wreck struct {
	*sim
	mu    sync.Mutex // guards what follows
	out   bool
	lines []*wreckLine
}

type wreckLine struct {
	*simInput
	gone chan struct{}
	deaf chan struct{} // edges cannot be read, the level can
}

var errNoDevice = &os.PathError{Op: "read", Path: "gpio-line", Err: unix.ENODEV}

func (w *wreck) open(p *PinConfig) (line, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.out {
		return nil, errors.New("no chip")
	}
	l, err := w.sim.open(p)
	wl := &wreckLine{l.(*simInput), make(chan struct{}), make(chan struct{})}
	w.lines = append(w.lines, wl)
	return wl, err
}

func (w *wreck) pull(out bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = out
	for _, l := range w.lines {
		close(l.gone)
	}
	w.lines = nil
}

func (w *wreck) deafen() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.lines {
		close(l.deaf)
	}
}

func (l *wreckLine) get() (bool, error) {
	select {
	case <-l.gone:
		return false, errNoDevice
	default:
		return l.simInput.get()
	}
}

func (l *wreckLine) edges(list []edge) ([]edge, error) {
	select {
	case <-l.gone:
		return list, errNoDevice
	case <-l.deaf:
		return list, errNoDevice
	case e := <-l.queue:
		return append(list, e), nil
	case <-l.closed:
		return list, os.ErrClosed
	}
}

// HW-2: when a chip has come back its inputs tell their level, marked as initial, and go
// on telling their edges.
func TestChipThatComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		b := inputs(d, nil, PinConfig{Kind: KindEdges, Edges: EdgesBoth})
		w := &wreck{sim: b.chips.(*sim)}
		b.chips = w
		defer running(t, b)()
		touch := func(on bool) { w.touch(b.pins[0], on) }
		d.take()
		w.pull(true)
		time.Sleep(10 * time.Minute)
		touch(true)
		if list := d.take(); list != nil {
			t.Errorf("without a chip: %v", list)
		}
		w.pull(false)
		time.Sleep(checkEvery)
		if list := d.take(); len(list) != 1 || !strings.Contains(list[0], `{"on":true,"at":`) || !strings.Contains(list[0], `"initial":true`) {
			t.Errorf("with the chip again: %v", list)
		}
		touch(false)
		if list := d.take(); len(list) != 1 || !strings.Contains(list[0], `{"on":false,"at":`) || strings.Contains(list[0], "initial") {
			t.Errorf("an edge: %v", list)
		}
		w.pull(false)
		time.Sleep(2 * firstCheck)
		if list := d.take(); len(list) != 1 || !strings.Contains(list[0], `"initial":true`) {
			t.Errorf("with a chip that was away for a moment: %v", list)
		}
		w.deafen()
		time.Sleep(2 * firstCheck)
		if list := d.take(); len(list) != 1 || !strings.Contains(list[0], `"initial":true`) {
			t.Errorf("with a line that told no edges any more: %v", list)
		}
	})
}

// HW-5: only inputs can be pressed, and only simulated ones.
func TestPressIsRefused(t *testing.T) {
	t.Parallel()
	b := New(Config{Driver: DriverSim, Pins: []PinConfig{{App: "a", Name: "lamp", Line: "1", Output: true}, {App: "a", Name: "in0", Line: "2"}}})
	press := func(b *Board, name string, d time.Duration, times int, bounce time.Duration) error {
		return b.Press(t.Context(), board.Press{App: "a", Name: name, For: d, Times: times, Bounce: bounce})
	}
	for want, err := range map[*picloud.Error]error{
		board.ErrPinOutput:   press(b, "lamp", time.Second, 1, 0),
		board.ErrPinNotFound: press(b, "none", time.Second, 1, 0),
		board.ErrPinReal:     press(New(Config{Pins: []PinConfig{{App: "a", Name: "in0", Line: "2"}}}), "in0", time.Second, 1, 0),
	} {
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	for _, err := range []error{
		press(b, "in0", 0, 1, 0), press(b, "in0", time.Second, 0, 0), press(b, "in0", time.Second, -1, 0), press(b, "in0", time.Second, 16, 0),
		press(b, "in0", time.Millisecond, 15_000, 0), // each level takes longer than it is told to
		b.Press(t.Context(), board.Press{App: "a", Name: "in0", On: new(true), Times: 3}),
		b.Press(t.Context(), board.Press{App: "a", Name: "in0", On: new(true), Bounce: time.Millisecond}),
		press(b, "in0", time.Second, 1, -1), press(b, "in0", time.Second, 1, 2*time.Second), press(b, "in0", 1<<62, 2, 0), press(b, "in0", time.Second, math.MaxInt, 0),
	} {
		if !errors.Is(err, board.ErrPressInvalid) {
			t.Errorf("%v, want %v", err, board.ErrPressInvalid)
		}
	}
}

// HW-5: a press ends in time, however slow the machine is, says so, and lets go.
func TestPressIsCutShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Driver: DriverSim, Pins: []PinConfig{{App: "a", Name: "in0", Line: "1"}}})
		p, err := b.find("a", "in0")
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		err = b.chips.(*sim).press(t.Context(), p, board.Press{For: time.Second, Times: 10}, 5*time.Second)
		if !errors.Is(err, board.ErrPressInvalid) || !strings.Contains(picloud.AsError(err).Detail, "cut short after 5s, when 2 of 10 presses were over") {
			t.Errorf("%v", err)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("it took %v", took)
		}
		if now, err := b.Pin("a", "in0"); err != nil || now.On == nil || *now.On {
			t.Errorf("the input is left as %+v, %v", now, err)
		}
	})
}
