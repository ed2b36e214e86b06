package sensor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
)

// devices is a bus with devices that do as the test says.
type devices struct {
	answer func(address uint16, w, r []byte) error // nil: read zeros
	fail   func() error                            // nil: never
	hold   func()                                  // called in each transfer; nil: nothing

	mu      sync.Mutex // guards what follows
	running int
	most    int // transfers at a time
	count   int
	closed  int
}

func (d *devices) claim(uint16) error { return nil }

func (d *devices) transfer(address uint16, w, r []byte) error {
	d.mu.Lock()
	d.count++
	d.running++
	d.most = max(d.most, d.running)
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.running--
		d.mu.Unlock()
	}()
	if d.hold != nil {
		d.hold()
	}
	if d.fail != nil {
		if err := d.fail(); err != nil {
			return err
		}
	}
	if d.answer != nil {
		return d.answer(address, w, r)
	}
	return nil
}

func (d *devices) probe(uint16) error { return d.transfer(0, nil, nil) }
func (d *devices) name() string       { return "test" }

func (d *devices) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed++
	return nil
}

// answering opens a bus whose devices answer zeros.
func answering(int) (transport, error) { return &devices{}, nil }

// recorder keeps what is published.
type recorder struct {
	mu     sync.Mutex // guards what follows
	events []string   // data, behind the time in a synctest bubble
	by     []picloud.Principal
	began  time.Time
	err    error
}

func newRecorder() *recorder { return &recorder{began: time.Now()} }

func (r *recorder) Publish(_ context.Context, p picloud.Publication) ([]picloud.Event, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	r.events = append(r.events, fmt.Sprintf("%v %s %s", time.Since(r.began).Round(time.Millisecond), p.Drafts[0].Topic, p.Drafts[0].Data))
	r.by = append(r.by, p.By)
	return make([]picloud.Event, 1), nil
}

func (r *recorder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// topics is a table of registered topics.
type topics struct {
	mu  sync.Mutex // guards what follows
	has map[string]picloud.Topic
	err error
}

func newTopics() *topics { return &topics{has: map[string]picloud.Topic{}} }

func (t *topics) EnsureTopic(_ context.Context, one picloud.Topic) (picloud.Topic, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.has[one.App+" "+one.Name]; !ok && t.err == nil {
		t.has[one.App+" "+one.Name] = one
	}
	return t.has[one.App+" "+one.Name], t.err
}

// machine writes files of the kernel below a root.
func machine(tb testing.TB, files map[string]string) string {
	tb.Helper()
	root := tb.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return root
}

// complete returns the settings of a sensor, which must be without faults.
func complete(tb testing.TB, name, driver string, more func(*Settings)) Settings {
	tb.Helper()
	s := Defaults(name)
	s.Driver = driver
	if more != nil {
		more(&s)
	}
	s, faults := s.Complete()
	if len(faults) > 0 {
		tb.Fatal(faults)
	}
	return s
}

// degrees is a file whose value moves by a function of the time.
func degrees(t *testing.T, root string, celsius float64) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, "sys/x/temp1_input"), fmt.Appendf(nil, "%d\n", int(celsius*1000)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// polling runs sensors in a bubble for a time, beside a function.
func polling(t *testing.T, cfg Config, open func(int) (transport, error), beside func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	p := newPoller(cfg, open)
	go func() { done <- p.Run(ctx) }()
	beside()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func is(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("published:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// HW-4: readings come in equal steps; with min_change only those that moved, and others
// after at_least.
func TestSchedule(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  func(*Settings)
		want []string
	}{
		"every reading": {func(*Settings) {}, []string{
			`0s sensors/x {"celsius":20}`, `10s sensors/x {"celsius":20.1}`, `20s sensors/x {"celsius":20.2}`, `30s sensors/x {"celsius":20.3}`,
			`40s sensors/x {"celsius":20.4}`, `50s sensors/x {"celsius":20.5}`, `1m0s sensors/x {"celsius":20.6}`,
		}},
		"min_change": {func(s *Settings) { s.MinChange = Changes{AnyUnit: 0.3} }, []string{
			`0s sensors/x {"celsius":20}`, `30s sensors/x {"celsius":20.3}`, `1m0s sensors/x {"celsius":20.6}`,
		}},
		"min_change of a unit": {func(s *Settings) { s.MinChange = Changes{celsius: 5} }, []string{`0s sensors/x {"celsius":20}`}},
		"at_least": {func(s *Settings) { s.MinChange, s.AtLeast = Changes{celsius: 5}, 25*time.Second }, []string{
			`0s sensors/x {"celsius":20}`, `20s sensors/x {"celsius":20.2}`, `40s sensors/x {"celsius":20.4}`, `1m0s sensors/x {"celsius":20.6}`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := machine(t, map[string]string{"sys/x/temp1_input": "20000\n"})
			s := complete(t, "x", driverHwmon, func(s *Settings) {
				s.Path = "/sys/x/temp1_input"
				c.set(s)
			})
			synctest.Test(t, func(t *testing.T) {
				events := newRecorder()
				polling(t, Config{Sensors: []Settings{s}, Publisher: events, Topics: newTopics()}.withRoot(root), nil, func() {
					for i := range 6 {
						time.Sleep(5 * time.Second) // between two readings
						degrees(t, root, 20+float64(i+1)/10)
						time.Sleep(5 * time.Second)
					}
					time.Sleep(5 * time.Second)
				})
				is(t, events.all(), c.want...)
			})
		})
	}
}

// HW-4: a fault is one event when it begins and one when it ends, and never a value; the
// sensor is tried again with growing pauses.
func TestFaultsAreToldOnce(t *testing.T) {
	t.Parallel()
	root := machine(t, map[string]string{"sys/x/temp1_input": "20000\n"})
	s := complete(t, "x", driverHwmon, func(s *Settings) {
		s.Path = "/sys/x/temp1_input"
		s.MinChange = Changes{AnyUnit: 100}
	})
	synctest.Test(t, func(t *testing.T) {
		events := newRecorder()
		p := newPoller(Config{Sensors: []Settings{s}, Publisher: events, Topics: newTopics()}.withRoot(root), nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(5 * time.Second)
		if err := os.Remove(filepath.Join(root, "sys/x/temp1_input")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		one := p.Sensors()[0]
		if one.Fault == "" || one.FaultSince.IsZero() || one.Values["celsius"] != 20 || time.Since(one.ReadAt) < 10*time.Minute {
			t.Errorf("%+v", one)
		}
		degrees(t, root, 21)
		time.Sleep(2 * time.Minute)
		got := events.all()
		if len(got) != 3 || !strings.HasPrefix(got[1], `10s sensors/x {"error":"nothing is at /sys/x/temp1_input;`) ||
			!strings.HasSuffix(got[2], ` {"error":null,"celsius":21}`) {
			t.Errorf("published %q", got)
		}
		if one := p.Sensors()[0]; one.Fault != "" || !one.FaultSince.IsZero() || one.Values["celsius"] != 21 {
			t.Errorf("%+v", one)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// HW-4: a bus on which a transfer hangs gets no other until it has returned; sensors of
// other buses go on, the node stops nevertheless, and all is well once it has returned.
func TestABusThatHangs(t *testing.T) {
	t.Parallel()
	one := complete(t, "one", "bh1750", nil)
	two := complete(t, "two", "bh1750", func(s *Settings) { s.Address = 0x5c })
	other := complete(t, "other", "bh1750", func(s *Settings) { s.Bus = 2 })
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		stuck := &devices{hold: func() { <-release }}
		events := newRecorder()
		open := func(n int) (transport, error) {
			if n == 1 {
				return stuck, nil
			}
			return &devices{}, nil
		}
		p := newPoller(Config{Sensors: []Settings{one, two, other}, Publisher: events, Topics: newTopics()}.withRoot(t.TempDir()), open)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if stuck.count != 1 || stuck.most != 1 {
			t.Errorf("%d transfers were begun on a bus that hangs, %d at a time", stuck.count, stuck.most)
		}
		faults, values := 0, 0
		for _, e := range events.all() {
			if strings.Contains(e, `"error":"the bus i2c-1 hangs`) {
				faults++
			}
			if strings.Contains(e, "sensors/other {\"lux\":0}") {
				values++
			}
		}
		if faults != 2 || values != 6 && values != 7 {
			t.Errorf("%d faults and %d values: %q", faults, values, events.all())
		}
		close(release)
		time.Sleep(2 * time.Minute)
		for _, s := range p.Sensors() {
			if s.Fault != "" || s.Values == nil {
				t.Errorf("%+v", s)
			}
		}
		stuck.mu.Lock()
		again := make(chan struct{})
		stuck.hold = func() { <-again }
		stuck.mu.Unlock()
		time.Sleep(11 * time.Second)
		cancel()
		synctest.Wait()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("a bus that hangs holds up the stop")
		}
		close(again)
	})
}

// HW-4: a device that is unplugged is a fault, and one that is back is read again; between
// readings the bus is not open, so that its adapter can be taken away.
func TestUnpluggedAndBack(t *testing.T) {
	t.Parallel()
	for _, gone := range []error{unix.EREMOTEIO, unix.ENODEV} {
		s := complete(t, "x", "bh1750", nil)
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			var failing error
			bus := &devices{fail: func() error {
				mu.Lock()
				defer mu.Unlock()
				return failing
			}}
			set := func(err error) {
				mu.Lock()
				defer mu.Unlock()
				failing = err
			}
			opened := 0
			events := newRecorder()
			polling(t, Config{Sensors: []Settings{s}, Publisher: events, Topics: newTopics()}.withRoot(t.TempDir()), func(int) (transport, error) {
				opened++
				return bus, nil
			}, func() {
				time.Sleep(5 * time.Second)
				set(gone)
				time.Sleep(time.Minute)
				set(nil)
				time.Sleep(2 * retryMax)
			})
			got := events.all()
			if len(got) < 4 || !strings.Contains(got[1], `{"error":"`) || !strings.Contains(got[2], `{"error":null,"lux":0}`) || !strings.Contains(got[3], `{"lux":0}`) {
				t.Errorf("%v: %q", gone, got)
			}
			if opened == 0 || opened != bus.closed {
				t.Errorf("%v: opened %d times, closed %d times", gone, opened, bus.closed)
			}
		})
	}
}

// HW-4, PB-9: the topic is registered for telemetry unless it is registered, or sync is
// asked for; the source is the device.
func TestTopicsAreTelemetry(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, asked, want picloud.Durability
	}{
		"new":             {"", picloud.DurabilityTelemetry, picloud.DurabilityTelemetry},
		"sync":            {"", picloud.DurabilitySync, ""},
		"registered":      {picloud.DurabilitySync, picloud.DurabilityTelemetry, picloud.DurabilitySync},
		"registered, too": {picloud.DurabilityTelemetry, picloud.DurabilitySync, picloud.DurabilityTelemetry},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := complete(t, "x", "bh1750", func(s *Settings) { s.Durability, s.App, s.Topic = c.asked, "porch", "light" })
			synctest.Test(t, func(t *testing.T) {
				events, has := newRecorder(), newTopics()
				if c.before != "" {
					has.has["porch light"] = picloud.Topic{Durability: c.before}
				}
				polling(t, Config{Sensors: []Settings{s}, Publisher: events, Topics: has}.withRoot(t.TempDir()), answering, func() { time.Sleep(time.Second) })
				if got := has.has["porch light"].Durability; got != c.want {
					t.Errorf("the topic is %q, want %q", got, c.want)
				}
				if len(events.by) != 1 {
					t.Fatalf("published by %+v", events.by)
				}
				by, may := events.by[0], picloud.Can
				if by.Source() != "device:x" || !may(by, picloud.AppPublish, "porch") || may(by, picloud.AppRead, "porch") || may(by, picloud.AppPublish, "default") {
					t.Errorf("published by %+v", by)
				}
			})
		})
	}
}

// HW-4: an app that is not there yet, or a node that cannot publish, holds up nothing; the
// event that could not be published is made up for by the next one.
func TestPublishingThatFails(t *testing.T) {
	t.Parallel()
	s := complete(t, "x", "bh1750", func(s *Settings) { s.MinChange = Changes{AnyUnit: 5} })
	synctest.Test(t, func(t *testing.T) {
		events, has := newRecorder(), newTopics()
		has.err = picloud.ErrAppNotFound
		polling(t, Config{Sensors: []Settings{s}, Publisher: events, Topics: has}.withRoot(t.TempDir()), answering, func() {
			time.Sleep(15 * time.Second)
			has.mu.Lock()
			has.err = nil
			has.mu.Unlock()
			events.fail(errors.New("the card is full"))
			time.Sleep(10 * time.Second)
			events.fail(nil)
			time.Sleep(30 * time.Second)
		})
		if got := events.all(); len(got) != 1 || !strings.HasSuffix(got[0], `sensors/x {"lux":0}`) {
			t.Errorf("published %q", got)
		}
	})
}

// HW-5: a simulated board has every sensor; its values move slowly, stay in range, and
// are marked.
func TestSimulatedSensors(t *testing.T) {
	t.Parallel()
	var all []Settings
	for _, d := range Drivers() {
		all = append(all, complete(t, d, d, func(s *Settings) {
			if d != driverDS18B20 && drivers[d].bus == nil {
				s.Path = "/sys/x/temp1_input"
			}
		}))
	}
	synctest.Test(t, func(t *testing.T) {
		events := newRecorder()
		p := newPoller(Config{Sensors: all, Simulated: true, Publisher: events, Topics: newTopics()}.withRoot(t.TempDir()), nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		before := map[string]float64{}
		moved := 0.0
		for range 120 {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			for _, s := range p.Sensors() {
				if !s.Simulated || s.Fault != "" || len(s.Values) == 0 {
					t.Fatalf("%+v", s)
				}
				var vs []Value
				for unit, n := range s.Values {
					vs = append(vs, Value{unit, n})
				}
				d := drivers[s.Driver]
				if _, err := d.check(vs); err != nil {
					t.Fatal(s.Name, err)
				}
			}
			now := p.Sensors()[slices.Index(Drivers(), "bme280")].Values
			if c, ok := before[celsius]; ok {
				step := max(now[celsius]-c, c-now[celsius])
				if moved = max(moved, step); step > 0.5 {
					t.Fatalf("the temperature jumps by %v", step)
				}
			}
			before = now
		}
		if moved == 0 {
			t.Error("the temperature does not move")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, e := range events.all() {
			if !strings.HasSuffix(e, `,"simulated":true}`) {
				t.Fatalf("%s is not marked", e)
			}
		}
	})
}
