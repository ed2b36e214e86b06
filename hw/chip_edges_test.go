package hw

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
)

// comes waits until a desk has so many events, and takes them. The kernel's interrupts
// have no signal that a test could wait for.
func (d *desk) comes(t *testing.T, n int) []string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		d.mu.Lock()
		if len(d.events) >= n || time.Now().After(deadline) {
			list := d.events
			d.events = nil
			d.mu.Unlock()
			if len(list) != n {
				t.Errorf("%d events, want %d: %v", len(list), n, list)
			}
			return list
		}
		d.mu.Unlock()
	}
}

// data is what an event tells, without the time.
func data(event string) string {
	before, rest, _ := strings.Cut(event, `"at":"`)
	_, after, _ := strings.Cut(rest, `"`)
	return before + strings.TrimPrefix(after, ",")
}

// timeOf is the time of the edge that an event tells of.
func timeOf(t *testing.T, event string) time.Time {
	t.Helper()
	_, rest, _ := strings.Cut(event, `"at":"`)
	text, _, _ := strings.Cut(rest, `"`)
	at, err := time.Parse(picloud.TimeLayout, text)
	if err != nil {
		t.Error(err)
	}
	return at
}

func both(p PinConfig) PinConfig {
	p.App, p.Kind, p.Topic = "a", KindEdges, p.Name
	if p.Edges == "" {
		p.Edges = EdgesBoth
	}
	return p
}

// switches pulls a line there and back so often, as fast as it goes.
func (s *simulator) switches(line, times int) {
	s.t.Helper()
	f, err := os.OpenFile(s.outside(line)+"/pull", os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // only written
	for i := range times {
		if _, err := f.WriteAt([]byte([]string{"pull-up", "pull-down"}[i%2]), 0); err != nil {
			s.t.Fatal(err)
		}
	}
}

// HW-2: edges of a real kernel, of every kind, inverted and pulled; a bounce train is one
// event with the time of its first edge.
func TestEdgesOfAKernel(t *testing.T) {
	s := newSimulator(t)
	d := newDesk()
	b := New(Config{Publisher: d, Store: d, Pins: []PinConfig{
		both(PinConfig{Name: "both", Line: "GPIO4"}),
		both(PinConfig{Name: "rising", Line: "GPIO5", Edges: EdgesRising}),
		both(PinConfig{Name: "falling", Line: "GPIO6", Edges: EdgesFalling}),
		both(PinConfig{Name: "inverted", Line: "GPIO7", Invert: true, Pull: "up"}),
		both(PinConfig{Name: "contact", Line: "pinctrl-rp1:8", Debounce: 200 * time.Millisecond}),
		{App: "a", Name: "bell", Line: "GPIO9", Topic: "bell", Kind: KindButton, Debounce: 20 * time.Millisecond},
	}})
	defer running(t, b)()
	list := d.comes(t, 5)
	slices.Sort(list)
	for i, name := range []string{"both", "contact", "falling", "inverted", "rising"} {
		if i < len(list) && data(list[i]) != fmt.Sprintf(`device:%s %[1]s {"on":false,"initial":true}`, name) {
			t.Errorf("at the start: %s", list[i])
		}
	}
	for line, want := range map[int][]string{
		4: {`device:both both {"on":true,}`, `device:both both {"on":false,}`},
		5: {`device:rising rising {"on":true,}`},
		6: {`device:falling falling {"on":false,}`},
		9: {`device:bell bell {"gesture":"press",}`},
	} {
		s.pull(line, "pull-up")
		if line == 9 { // released when it has been still, so that it is a press
			if got := d.comes(t, 1); len(got) == 1 && data(got[0]) != want[0] {
				t.Errorf("line %d: %s", line, got[0])
			}
			s.pull(line, "pull-down")
			continue
		}
		s.pull(line, "pull-down")
		for i, e := range d.comes(t, len(want)) {
			if i < len(want) && data(e) != want[i] {
				t.Errorf("line %d: %s, want %s", line, e, want[i])
			}
		}
	}
	s.pull(7, "pull-down")
	if got := d.comes(t, 1); len(got) == 1 && data(got[0]) != `device:inverted inverted {"on":true,}` {
		t.Errorf("inverted: %s", got[0])
	}

	began := time.Now()
	s.pull(8, "pull-up")
	first := time.Since(began)
	for i := range 20 {
		time.Sleep(time.Millisecond)
		s.pull(8, []string{"pull-down", "pull-up"}[i%2])
	}
	train := time.Since(began)
	got := d.comes(t, 1)
	if len(got) != 1 || data(got[0]) != `device:contact contact {"on":true,}` {
		t.Fatalf("bounces: %v", got)
	}
	if at := timeOf(t, got[0]).Sub(began.Round(0)); at < -time.Millisecond || at > first+time.Millisecond {
		t.Errorf("the event has a time %v after the beginning, the first edge was within %v, the last at %v", at, first, train)
	}
}

// ADR 18: the kernel's own debouncing stamps its event when the line has been still.
func TestDebouncingOfTheKernelLosesTheFirstEdge(t *testing.T) {
	s := newSimulator(t)
	const period = 100 * time.Millisecond
	k := kernel{dev: "/dev"}
	chip, offset, err := k.find("GPIO4")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = chip.Close() }() // only asked
	r := unix.GPIOV2LineRequest{Num_lines: 1}
	r.Offsets[0], r.Config.Flags, r.Config.Num_attrs = offset, flagInput|flagEdgeRising|flagEdgeFalling, 1
	r.Config.Attrs[0] = unix.GPIOV2LineConfigAttribute{Attr: unix.GPIOV2LineAttribute{Id: unix.GPIO_V2_LINE_ATTR_ID_DEBOUNCE, Flags: uint64(period / time.Microsecond)}, Mask: 1}
	if err := control(chip, unix.GPIO_V2_GET_LINE_IOCTL, &r); err != nil {
		t.Fatal(err)
	}
	l := newKernelInput(os.NewFile(uintptr(r.Fd), "line"))
	defer func() { _ = l.Close() }() // only read
	began := time.Now()
	s.switches(4, 21)
	list, err := l.edges(make([]edge, 0, 8))
	if err != nil || len(list) != 1 || !list[0].on {
		t.Fatalf("%+v, %v", list, err)
	}
	if at := list[0].at.Sub(began); at < period {
		t.Errorf("the kernel's debouncing gives a time %v after the first edge: ADR 18 is not true any more", at)
	}
}

// HW-2: of bursts that are longer than the kernel's queue the losses are exact, in the
// events, in the counts, and in the total of a counter.
func TestBurstsOfEdges(t *testing.T) {
	s := newSimulator(t)
	k := kernel{dev: "/dev"}
	pin := both(PinConfig{Name: "both", Line: "GPIO4"})
	opened, err := k.open(&pin)
	if err != nil {
		t.Fatal(err)
	}
	l := opened.(*kernelInput)
	const burst = 5000
	began := time.Now()
	s.switches(4, burst) // nobody reads
	t.Logf("%.0f edges a second", burst/time.Since(began).Seconds())
	read, missed := 0, 0
	var last edge
	for read+missed < burst {
		list, err := l.edges(make([]edge, 0, readEdges))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			read, missed, last = read+1, missed+e.missed, e
		}
	}
	if read+missed != burst || missed < burst-kernelQueue-1 || last.on {
		t.Errorf("%d edges read, %d lost, of %d; the last is %+v", read, missed, burst, last)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}

	d := newDesk()
	b := New(Config{Publisher: d, Store: d, Pins: []PinConfig{
		pin, {App: "a", Name: "meter", Line: "GPIO5", Topic: "meter", Kind: KindCounter, Edges: EdgesRising, Every: time.Hour},
	}})
	stop := running(t, b)
	d.comes(t, 1)
	s.switches(4, burst)
	s.switches(5, 2*burst)
	counted := func() (edges uint64) {
		for _, in := range b.Inputs() {
			edges += in.Edges + in.Missed
		}
		return edges
	}
	for deadline := time.Now().Add(20 * time.Second); counted() < 2*burst && time.Now().Before(deadline); { // as in comes
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	if got := counted(); got != 2*burst {
		t.Errorf("%d edges were counted, want %d", got, 2*burst)
	}
	if got := d.notes["hw.counter.a.meter"]; got != fmt.Sprint(burst) {
		t.Errorf("the total is %s, want %d", got, burst)
	}
	told := 0
	for _, e := range d.events {
		var count, missed int
		if _, after, found := strings.Cut(e, `"count":`); found {
			_, _ = fmt.Sscanf(after, "%d", &count) // it is a number
		} else {
			count = 1
		}
		if _, after, found := strings.Cut(e, `"missed":`); found {
			_, _ = fmt.Sscanf(after, "%d", &missed) // as above
		}
		told += count + missed
	}
	if told != burst || !strings.Contains(d.events[len(d.events)-1], `"on":false`) {
		t.Errorf("the events tell of %d edges, want %d; the last is %s", told, burst, d.events[len(d.events)-1])
	}
}

// HW-2: a chip that is pulled out and comes back tells the level, and edges again.
func TestChipOfAKernelComesBack(t *testing.T) {
	s := newSimulator(t)
	d := newDesk()
	b := New(Config{Publisher: d, Store: d, Pins: []PinConfig{both(PinConfig{Name: "both", Line: "GPIO4"})}})
	defer running(t, b)()
	d.comes(t, 1)
	for range 3 {
		s.live("0")
		s.live("1")
		if got := d.comes(t, 1); len(got) == 1 && data(got[0]) != `device:both both {"on":false,"initial":true}` {
			t.Errorf("with the chip again: %s", got[0])
		}
		s.pull(4, "pull-up")
		s.pull(4, "pull-down")
		d.comes(t, 2)
	}
}

// HW-7: the wall clock of an edge is right although the clock was set after the line came
// into use.
func TestClockIsSetBetweenEdges(t *testing.T) {
	s := newSimulator(t)
	d := newDesk()
	b := New(Config{Publisher: d, Store: d, Pins: []PinConfig{both(PinConfig{Name: "both", Line: "GPIO4"})}})
	defer running(t, b)()
	d.comes(t, 1)
	now := time.Now()
	for _, jump := range []time.Duration{24 * time.Hour, -48 * time.Hour} {
		tv := unix.NsecToTimeval(time.Now().Add(jump).UnixNano())
		if err := unix.Settimeofday(&tv); err != nil {
			t.Fatal(err)
		}
		s.pull(4, "pull-up")
		list := d.comes(t, 1)
		s.pull(4, "pull-down")
		d.comes(t, 1)
		if off := time.Since(now.Round(0)) - time.Since(now); time.Until(timeOf(t, list[0])).Abs() > 5*time.Second || off.Abs() < time.Hour {
			t.Errorf("%s; the clock is %v off", list[0], off)
		}
	}
	tv := unix.NsecToTimeval(now.Add(time.Since(now)).UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		t.Error(err)
	}
}

// HW-2: a line has one owner: of two processes, or nodes, the second is told who has it.
func TestLineThatAnotherProcessHas(t *testing.T) {
	newSimulator(t)
	d := newDesk()
	b := New(Config{Publisher: d, Store: d, Pins: []PinConfig{both(PinConfig{Name: "both", Line: "GPIO4"})}})
	stop := running(t, b)
	d.comes(t, 1)
	other := newDesk()
	second := New(Config{Publisher: other, Store: other, Pins: []PinConfig{both(PinConfig{Name: "both", Line: "GPIO4"})}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- second.Run(ctx) }()
	if _, err := second.ReadPin("a", "both"); err == nil || !strings.Contains(err.Error(), `in use by "picloud"`) {
		t.Errorf("the second owner: %v", err)
	}
	stop()
	other.comes(t, 1) // it is tried again
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// HW-2: lines that the machine does not have, and two names of one line, are found without
// taking them.
func TestLinesAreChecked(t *testing.T) {
	s := newSimulator(t)
	chip := s.read(s.dir + "/bank0/chip_name")
	var pins []PinConfig
	for i, line := range []string{"GPIO4", chip + ":4", "pinctrl-rp1:5", "GPIO5", "GPIO99", chip + ":54", "GPIO6"} {
		pins = append(pins, PinConfig{App: "a", Name: fmt.Sprint("p", i), Line: line})
	}
	defer running(t, New(Config{Pins: pins[:1]}))() // by the node that runs
	faults, err := CheckLines(pins)
	want := []string{1: "is the line GPIO4 of the pin p0", 3: "is the line pinctrl-rp1:5 of the pin p2", 4: `no GPIO chip has a line "GPIO99"`, 5: "has 54 lines", 6: ""}
	for _, f := range faults {
		if want[f.Pin] == "" || !strings.Contains(f.Err.Error(), want[f.Pin]) {
			t.Errorf("pin %d: %v", f.Pin, f.Err)
		}
		want[f.Pin] = ""
	}
	if err != nil || strings.Join(want, "") != "" {
		t.Errorf("%v; not found: %q", err, want)
	}
}
