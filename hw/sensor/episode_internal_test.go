package sensor

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
)

// loose is a contact that is open for a part of each period.
func loose(period, open time.Duration) func() error {
	began := time.Now()
	return func() error {
		if time.Since(began)%period >= period-open {
			return unix.EREMOTEIO
		}
		return nil
	}
}

// lines counts the lines of a log.
type lines struct {
	mu  sync.Mutex // guards what follows
	all bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.all.String(), part)
}

// HW-4, OP-1: a sensor that comes and goes writes a bounded number of lines and
// events, whatever the rhythm; its readings are published meanwhile, and the fault ends
// when it stays.
func TestALooseContactIsBounded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ period, open time.Duration }{
		"each second reading": {2 * time.Second, time.Second},
		"ten seconds":         {20 * time.Second, 10 * time.Second},
		"each minute":         {61 * time.Second, time.Second},
		"each ten minutes":    {10 * time.Minute, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			moving := complete(t, "moving", "bh1750", func(s *Settings) { s.Every = time.Second })
			still := complete(t, "still", "bh1750", func(s *Settings) { s.Every, s.Address, s.MinChange = time.Second, 0x5c, Changes{AnyUnit: 5} })
			synctest.Test(t, func(t *testing.T) {
				log, events := &lines{}, newRecorder()
				var mu sync.Mutex
				fail := loose(c.period, c.open)
				bus := &devices{fail: func() error {
					mu.Lock()
					defer mu.Unlock()
					return fail()
				}}
				cfg := Config{Sensors: []Settings{moving, still}, Publisher: events, Topics: newTopics(), Logger: slog.New(slog.NewTextHandler(log, nil))}
				p := newPoller(cfg.withRoot(t.TempDir()), func(int) (transport, error) { return bus, nil })
				ended := make(chan error, 1)
				go func() { ended <- p.Run(t.Context()) }()
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				begun, over := log.count("sensor cannot be read"), log.count("sensor can be read again")
				if begun < 2 || begun > 2*8 || over > begun {
					t.Errorf("%d faults of two sensors were logged, and %d ends", begun, over)
				}
				faults, ends, readings, stills := 0, 0, 0, 0
				for _, e := range events.all() {
					switch {
					case strings.Contains(e, `"error":"`):
						faults++
					case strings.Contains(e, `"error":null`):
						ends++
					case strings.Contains(e, "sensors/moving"):
						readings++
					default:
						stills++
					}
				}
				if faults != begun || ends != over || readings < 50 || stills != 1 {
					t.Errorf("%d faults, %d ends, %d readings and %d that have not moved were published", faults, ends, readings, stills)
				}
				mu.Lock()
				fail = func() error { return nil }
				mu.Unlock()
				time.Sleep(goneMax + 2*retryMax) // the longest that an episode lasts on
				synctest.Wait()
				if all := p.Sensors(); all[0].Fault != "" || all[1].Fault != "" || log.count("sensor can be read again") != log.count("sensor cannot be read") {
					t.Errorf("an hour later: %+v", all)
				}
			})
		})
	}
}

// HW-4: while a fault that has come back is not over, it is told as one that comes and
// goes, beside what is read meanwhile.
func TestAFaultThatComesAndGoes(t *testing.T) {
	t.Parallel()
	s := complete(t, "x", "bh1750", nil)
	synctest.Test(t, func(t *testing.T) {
		p := newPoller(Config{Sensors: []Settings{s}, Publisher: newRecorder(), Topics: newTopics()}.withRoot(t.TempDir()), answering)
		one, bad := p.probes[0], errors.New("no device answers")
		for i, step := range []struct {
			err   error
			fault string
		}{
			{nil, ""},
			{bad, "no device answers"},
			{nil, ""},
			{bad, "no device answers"},
			{nil, "it comes and goes: no device answers"},
			{bad, "no device answers"},
			{nil, "it comes and goes: no device answers"},
		} {
			time.Sleep(10 * time.Second)
			one.note([]Value{{lux, float64(i)}}, step.err)
			got := p.Sensors()[0]
			if got.Fault != step.fault || got.FaultSince.IsZero() != (step.fault == "") || step.err == nil && (got.Values[lux] != float64(i) || got.ReadAt != time.Now()) {
				t.Errorf("step %d: %+v; want %q", i, got, step.fault)
			}
		}
		time.Sleep(goneMin)
		one.note([]Value{{lux, 7}}, nil)
		if got := p.Sensors()[0]; got.Fault != "" || !got.FaultSince.IsZero() {
			t.Errorf("a minute later: %+v", got)
		}
	})
}

// OP-1: publishing that fails and does not in turn is logged a bounded number of times.
func TestPublishingThatComesAndGoes(t *testing.T) {
	t.Parallel()
	s := complete(t, "x", "bh1750", nil)
	synctest.Test(t, func(t *testing.T) {
		log, events := &lines{}, newRecorder()
		cfg := Config{Sensors: []Settings{s}, Publisher: events, Topics: newTopics(), Logger: slog.New(slog.NewTextHandler(log, nil))}
		polling(t, cfg.withRoot(t.TempDir()), answering, func() {
			for range 1000 {
				events.fail(picloud.ErrAppNotFound)
				time.Sleep(10 * time.Second)
				events.fail(nil)
				time.Sleep(10 * time.Second)
			}
		})
		if failed, again := log.count("reading was not published"), log.count("readings are published again"); failed != 2 || again != 1 {
			t.Errorf("logged %d times, and %d ends", failed, again)
		}
	})
}
