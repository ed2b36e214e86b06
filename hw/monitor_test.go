package hw

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/board"
)

// station is what a Monitor works with: a hub with one stream, which comes and goes, and a
// journal that can be full. The real ones cannot wait in a bubble of synctest; package
// cmd/picloud has them.
type station struct {
	t    *testing.T
	root string
	log  bytes.Buffer

	mu      sync.Mutex // guards what follows
	full    bool
	events  []picloud.Event
	watched chan struct{}
	values  map[string][]string
}

func newStation(t *testing.T, files map[string]string) *station {
	t.Helper()
	return &station{t: t, root: machine(t, files), watched: make(chan struct{}), values: map[string][]string{}}
}

// Publish implements picloud.Publisher.
func (s *station) Publish(_ context.Context, p picloud.Publication) ([]picloud.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return nil, picloud.ErrNoSpace
	}
	if p.By.Kind != picloud.KindSystem || p.App != picloud.DefaultApp || len(p.Drafts) != 1 || p.Drafts[0].Topic != picloud.TopicBoardPower {
		s.t.Errorf("published: %+v", p)
	}
	s.events = append(s.events, picloud.Event{Data: p.Drafts[0].Data})
	return s.events[len(s.events)-1:], nil
}

// Latest implements History.
func (s *station) Latest(context.Context, string, []string) ([]picloud.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[max(0, len(s.events)-1):], nil
}

// SetState implements live.Hub.
func (s *station) SetState(topic string, data []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if data != nil {
		s.values[topic] = append(s.values[topic], string(data))
	}
	return true
}

// Watched implements live.Hub.
func (s *station) Watched(string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watched
}

// write sets files of the kernel. Wholly, so that no half is read.
func (s *station) write(files map[string]string) {
	s.t.Helper()
	for name, text := range files {
		path := filepath.Join(s.root, name)
		if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// told returns what was published since the last call, in short.
func (s *station) told() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		var p board.PowerEvent
		if err := json.Unmarshal(e.Data, &p); err != nil {
			s.t.Error(err)
		}
		text := fmt.Sprint(p.Condition, " ", p.State, " ", p.Lasting)
		if p.LastedSec != nil {
			text += fmt.Sprintf(" after %v", *p.LastedSec)
		}
		if (p.Advice != "") != (p.State == board.Begins) {
			s.t.Errorf("advice: %+v", p)
		}
		list = append(list, text)
	}
	s.events = s.events[:0]
	return list
}

func (s *station) want(what string, want ...string) {
	s.t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, s.told()); diff != "" {
		s.t.Errorf("%s:\n%s", what, diff)
	}
}

// start runs a Monitor until the function that is returned is called.
func (s *station) start(cfg Config) (m *Monitor, stop func()) {
	cfg.Root = s.root
	logger := slog.New(slog.NewTextHandler(&s.log, nil))
	m = NewMonitor(MonitorConfig{Board: New(cfg), Hub: s, Publisher: s, History: s, Warm: 70, Logger: logger})
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	synctest.Wait()
	return m, func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	}
}

const (
	temperature = "sys/class/thermal/thermal_zone0/temp"
	voltage     = "sys/class/hwmon/hwmon0/in0_lcrit_alarm"
	throttling  = "sys/devices/platform/soc/soc:firmware/get_throttled"
)

func coolBoard() map[string]string {
	return map[string]string{temperature: "50000\n", "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n", voltage: "0\n", "sys/class/hwmon/hwmon0/name": "rpi_volt\n", throttling: "0\n"}
}

// HW-6: heat, undervoltage and throttling are an event when they begin and one when they
// have been over for a minute, and a line in the log each; a supply at its limit makes no
// stream of events; background work is slowed as long.
func TestConditionsBeginAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, coolBoard())
		m, stop := s.start(Config{})
		defer stop()
		sleep := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		sleep(time.Hour)
		if s.want("a cool board"); m.Strained() {
			t.Error("a cool board is strained")
		}
		s.write(map[string]string{temperature: "69999"})
		sleep(time.Minute)
		s.want("a warm board")
		s.write(map[string]string{temperature: "70000"})
		sleep(2 * time.Second)
		if s.want("a hot board", "heat begins [heat]"); !m.Strained() {
			t.Error("a hot board is not strained")
		}
		s.write(map[string]string{temperature: "67500"}) // less than the limit, but not by 3 °C
		sleep(10 * time.Minute)
		s.want("a board about as hot")
		r := m.Report()
		if len(r.Conditions) != 1 || !r.Slowed || time.Since(r.Conditions[0].Since).Round(time.Minute) != 10*time.Minute {
			t.Errorf("%+v", r.Conditions)
		}
		s.write(map[string]string{temperature: "66000"})
		for range 100 { // for ten minutes the supply fails every six seconds
			s.write(map[string]string{voltage: "1"})
			sleep(3 * time.Second)
			s.write(map[string]string{voltage: "0"})
			sleep(3 * time.Second)
		}
		s.want("a supply at its limit", "undervoltage begins [undervoltage heat]", "heat ends [undervoltage] after 600")
		sleep(time.Minute)
		s.want("a good supply", "undervoltage ends [] after 594")
		if m.Strained() {
			t.Error("still strained")
		}
		s.write(map[string]string{throttling: "80008"})
		sleep(2 * time.Second)
		s.write(map[string]string{throttling: "80000"})
		sleep(2 * time.Minute)
		s.want("a throttled board", "throttled begins [throttled]", "throttled ends [] after 0")
		if n := strings.Count(s.log.String(), "\n"); n != 6 {
			t.Errorf("%d lines in the log, want one for each event:\n%s", n, s.log.String())
		}
	})
}

// HW-6: after a restart a condition that still lasts does not begin again, and one that is
// over ends; what could not be published is published when it can be.
func TestConditionsOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, coolBoard())
		s.write(map[string]string{temperature: "80000", voltage: "1"})
		s.full = true
		_, stop := s.start(Config{})
		time.Sleep(10 * time.Minute)
		if s.want("a full disk"); strings.Count(s.log.String(), "was not published") != 1 {
			t.Errorf("the log:\n%s", s.log.String())
		}
		s.mu.Lock()
		s.full = false
		s.mu.Unlock()
		time.Sleep(powerRetry)
		synctest.Wait()
		kept := append([]picloud.Event{}, s.events...)
		s.want("with space again", "undervoltage begins [undervoltage]", "heat begins [undervoltage heat]")
		stop()

		s.events = append(s.events, kept...)
		_, stop = s.start(Config{})
		time.Sleep(10 * time.Minute)
		s.want("after a restart", "undervoltage begins [undervoltage]", "heat begins [undervoltage heat]")
		stop()

		s.events = append(s.events, kept...)
		s.write(map[string]string{voltage: "0"})
		_, stop = s.start(Config{})
		s.want("over meanwhile", "undervoltage begins [undervoltage]", "heat begins [undervoltage heat]", "undervoltage ends [heat]")
		stop()

		s.events = append(s.events, picloud.Event{Data: []byte(`{"condition":"flood","state":"begins","lasting":["flood","heat"]}`)})
		if err := os.RemoveAll(filepath.Join(s.root, "sys")); err != nil {
			t.Fatal(err)
		}
		_, stop = s.start(Config{})
		synctest.Wait()
		s.mu.Lock()
		s.events = s.events[1:]
		s.mu.Unlock()
		s.want("on another board, of another version", "heat ends []", "flood ends []")
		stop()
	})
}

// HW-1: $board/health comes at once and every ten seconds while a stream carries it, and
// nothing is measured otherwise; the header when it changes, at most every 100 ms, without
// names and levels of pins of other apps.
func TestBoardIsMeasuredWhileWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, nil)
		var m *Monitor
		cfg := Config{Driver: DriverSim, Changed: func(string, string) { m.PinsChanged() }, Pins: []PinConfig{
			{App: "default", Name: "lamp", Line: "GPIO22", Output: true}, {App: "other", Name: "secret", Line: "GPIO23", Output: true, Start: true},
		}}
		m, stop := s.start(cfg)
		defer stop()
		count := func(topic string, n int) {
			t.Helper()
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			if got := len(s.values[topic]); got != n {
				t.Errorf("%d values of %s, want %d", got, topic, n)
			}
			delete(s.values, topic)
		}
		sleep := func(d time.Duration) { time.Sleep(d) }
		sleep(time.Hour)
		count(picloud.TopicBoardHealth, 0)
		count(picloud.TopicBoardPins, 0)
		s.mu.Lock()
		close(s.watched)
		s.mu.Unlock()
		sleep(30*time.Second + time.Millisecond)
		count(picloud.TopicBoardHealth, 4)
		count(picloud.TopicBoardPins, 1)
		for i := range 30 { // in less than 100 ms
			if _, err := m.cfg.Board.SetPin(context.Background(), board.PinChange{App: "default", Name: "lamp", On: i%2 == 0}); err != nil {
				t.Error(err)
			}
			sleep(time.Millisecond)
		}
		sleep(100 * time.Millisecond)
		synctest.Wait()
		s.mu.Lock()
		list := s.values[picloud.TopicBoardPins]
		s.mu.Unlock()
		for i, want := range []string{"true", "false"} {
			if i >= len(list) || !strings.Contains(list[i], `"pin":"lamp","output":true,"high":`+want) {
				t.Errorf("value %d: the lamp is not %s in %q", i, want, list)
			}
		}
		if !strings.Contains(list[0], `"line":"GPIO23","use":"output","output":true,"high":null,"on":null`) || strings.Contains(list[0], "secret") || strings.Contains(list[0], "other\",\"pin") {
			t.Errorf("the pin of another app is in what readers of the default app get: %s", list[0])
		}
		count(picloud.TopicBoardPins, 2)
	})
}
