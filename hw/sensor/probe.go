package sensor

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/backoff"
	"github.com/picloud/picloud/board"
)

// probe polls one sensor.
type probe struct {
	set    Settings
	driver driver
	bus    *bus // nil: it is a file
	cfg    *Config
	log    *slog.Logger

	mu     sync.Mutex // guards what follows
	latest board.Sensor

	// Of the goroutine of run.
	pending   <-chan struct{}    // closed when the reading that was abandoned has returned; nil: there is none
	published map[string]float64 // values, by unit; nil: none
	at        time.Time          // of the event before
	reading   episode            // of readings that fail
	cause     string             // of the reading that failed last
	told      bool               // that the episode has begun is published, and not that it has ended
	publish   episode            // of events that cannot be published
}

// retryMin and retryMax bound the pauses before a sensor that cannot be read is tried again.
const (
	retryMin = time.Second
	retryMax = time.Minute
)

// publishTimeout bounds the wait for an event to be published.
const publishTimeout = 10 * time.Second

func newProbe(s Settings, b *bus, cfg *Config) *probe {
	p := &probe{set: s, driver: drivers[s.Driver], cfg: cfg, log: cfg.Logger.With(slog.String("component", "hw"), slog.String("sensor", s.Name))}
	if p.driver.bus != nil {
		p.bus = b
	}
	p.latest = board.Sensor{Name: s.Name, App: s.App, Topic: s.Topic, Driver: s.Driver, Place: s.Place(), Simulated: cfg.Simulated}
	return p
}

// state returns what was read last.
func (p *probe) state() board.Sensor {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latest // its map is replaced, never changed
}

// run polls until ctx ends. Readings are due in equal steps; those for which it was too
// late are left out.
func (p *probe) run(ctx context.Context) {
	retry := backoff.Backoff{Min: retryMin, Max: retryMax}
	due := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		values, err := p.read(ctx)
		if ctx.Err() != nil {
			return
		}
		p.note(values, err)
		if perr := p.report(ctx, values, err); ctx.Err() == nil {
			p.tell(perr)
		}
		now := time.Now()
		due = due.Add(p.set.Every)
		if late := now.Sub(due); late > 0 {
			due = due.Add(late - late%p.set.Every + p.set.Every)
		}
		pause := due.Sub(now)
		switch {
		case err != nil:
			pause = retry.Next()
		case !p.reading.open:
			retry.Reset()
		}
		timer.Reset(pause)
	}
}

// read reads the sensor, a second time where the first has failed. An error is a fault
// for people, or that of ctx.
func (p *probe) read(ctx context.Context) ([]Value, error) {
	if p.cfg.Simulated {
		return simulate(&p.set, p.driver.units(&p.set), time.Now()), nil
	}
	values, err := p.once(ctx)
	if err != nil && p.pending == nil && ctx.Err() == nil {
		values, err = p.once(ctx)
	}
	return values, err
}

// once reads the sensor once. A reading that does not return in time is abandoned, and no
// other is begun until it has.
func (p *probe) once(ctx context.Context) ([]Value, error) {
	if p.pending != nil {
		select {
		case <-p.pending:
			p.pending = nil
		default:
			return nil, p.hangs()
		}
	}
	limit := p.driver.timeout
	if limit == 0 {
		limit = readingTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan struct{})
	var values []Value
	var err error
	go func() {
		defer close(done)
		if p.bus != nil {
			values, err = p.fromBus(ctx)
		} else {
			values, err = p.fromFile(ctx)
		}
		if err == nil {
			values, err = p.driver.check(values)
		}
	}()
	select {
	case <-done:
		return values, err
	case <-ctx.Done():
		p.pending = done
		return nil, faultf("a reading of %s has not returned within %v", p.set.Place(), limit)
	}
}

// hangs words that the reading which was abandoned has not returned yet.
func (p *probe) hangs() error {
	if p.set.Driver == driverFile {
		return faultf("a reading of %s has not returned: the kernel waits for what is behind that file", p.set.Place())
	}
	return faultf("a reading of %s has not returned: the kernel waits for it; check the wires, or restart the board", p.set.Place())
}

func (p *probe) fromFile(ctx context.Context) ([]Value, error) {
	path, err := p.set.resolve(ctx, p.cfg.Root)
	if err != nil {
		return nil, err
	}
	values, err := p.driver.file(path, &p.set)
	if err != nil {
		return nil, p.set.explainFile(err)
	}
	return values, nil
}

func (p *probe) fromBus(ctx context.Context) ([]Value, error) {
	device := p.bus.device(p.set.Address)
	select {
	case device <- struct{}{}:
		defer func() { <-device }()
	case <-ctx.Done():
		return nil, p.set.explain(context.Cause(ctx))
	}
	s := &session{ctx: ctx, bus: p.bus}
	values, err := p.driver.bus(s, &p.set)
	if s.err != nil {
		return nil, p.set.explain(s.err)
	}
	if _, ok := errors.AsType[*fault](err); err == nil || ok {
		return values, err
	}
	p.log.Debug("driver has refused what the device answers", slog.Any("err", err))
	return nil, faultf("what answers at %s does not do so as a %s: check driver and address", p.set.Place(), strings.ToUpper(p.set.Driver))
}

// note keeps a reading for those who ask.
func (p *probe) note(values []Value, err error) {
	now := time.Now()
	begins, ends := p.reading.note(err != nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest.Failed = err != nil
	if err == nil {
		p.latest.Values, p.latest.ReadAt = byUnit(values), now
	} else {
		p.cause = err.Error()
	}
	switch {
	case begins:
		p.latest.FaultSince = now
		p.log.Warn("sensor cannot be read; it is tried again", slog.Any("err", err))
	case ends:
		p.latest.FaultSince = time.Time{}
		p.log.Info("sensor can be read again", slog.Int("returns", p.reading.returns))
	}
	switch {
	case !p.reading.open:
		p.latest.Fault = ""
	case err != nil:
		p.latest.Fault = p.cause
	default:
		p.latest.Fault = "it comes and goes: " + p.cause
	}
}

// report publishes a reading, if there is something to say. A reading within an episode is
// published as any other, and the one that ends it says so.
func (p *probe) report(ctx context.Context, values []Value, fault error) error {
	recovered := fault == nil && p.told && !p.reading.open
	switch {
	case fault != nil && p.told, fault == nil && !recovered && !p.moved(values):
		return nil
	case fault != nil:
		values = nil
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if err := p.register(ctx); err != nil {
		return err
	}
	data := encode(values, recovered, p.cfg.Simulated)
	if fault != nil {
		data = encodeFault(fault)
	}
	_, err := p.cfg.Publisher.Publish(ctx, picloud.Publication{
		App:    p.set.App,
		Drafts: []picloud.Draft{{Topic: p.set.Topic, Data: data}},
		By:     picloud.Principal{Kind: picloud.KindDevice, Name: p.set.Name, App: p.set.App, Scopes: []picloud.Scope{picloud.ScopeAppPublish}},
	})
	if err != nil {
		return err
	}
	p.at = time.Now()
	if fault == nil {
		p.published = byUnit(values)
	}
	p.told = fault != nil || p.told && !recovered
	return nil
}

// register makes the topic a telemetry topic, unless it is registered: then it is as
// those have it who did so.
func (p *probe) register(ctx context.Context) error {
	if p.set.Durability != picloud.DurabilityTelemetry {
		return nil
	}
	_, err := p.cfg.Topics.EnsureTopic(ctx, picloud.Topic{
		App: p.set.App, Name: p.set.Topic, Durability: picloud.DurabilityTelemetry, Description: "Readings of the sensor " + p.set.Name,
	})
	return err
}

// moved reports whether values are to be published after the event before.
func (p *probe) moved(values []Value) bool {
	if p.published == nil || len(p.set.MinChange) == 0 {
		return true
	}
	// A reading that is due comes somewhat earlier or later.
	if p.set.AtLeast > 0 && time.Since(p.at)+p.set.Every/2 >= p.set.AtLeast {
		return true
	}
	for _, v := range values {
		least, ok := p.set.MinChange[v.Unit]
		if !ok {
			if least, ok = p.set.MinChange[AnyUnit]; !ok {
				continue
			}
		}
		if math.Abs(v.Number-p.published[v.Unit]) >= least {
			return true
		}
	}
	return false
}

// tell logs when events cannot be published, and when they can be again.
func (p *probe) tell(err error) {
	switch begins, ends := p.publish.note(err != nil); {
	case begins:
		p.log.Warn("reading was not published; it is tried again", slog.String("app", p.set.App), slog.String("topic", p.set.Topic), slog.Any("err", err))
	case ends:
		p.log.Info("readings are published again", slog.Int("returns", p.publish.returns))
	}
}

func byUnit(values []Value) map[string]float64 {
	m := make(map[string]float64, len(values))
	for _, v := range values {
		m[v.Unit] = v.Number
	}
	return m
}
