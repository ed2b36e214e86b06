package hw

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/board"
	"github.com/picloud/picloud/live"
)

// MonitorConfig configures a Monitor.
type MonitorConfig struct {
	Board       *Board
	Hub         live.Hub
	Publisher   picloud.Publisher
	History     History
	HealthEvery time.Duration // of $board/health; default 10 s
	Warm        float64       // °C from which on the board is hot; default 75
	Logger      *slog.Logger  // nil: none
}

// Monitor watches a board: it publishes its health and its pins while streams carry them,
// and incidents of power and heat whenever there are any. It is safe for concurrent use.
type Monitor struct {
	cfg     MonitorConfig
	log     *slog.Logger
	changed chan struct{} // has room for one
	power   power
}

// Defaults of a Monitor.
const (
	DefaultHealthEvery = 10 * time.Second
	DefaultWarm        = 75
)

// NewMonitor returns a Monitor, which watches once it runs.
func NewMonitor(cfg MonitorConfig) *Monitor {
	if cfg.HealthEvery <= 0 {
		cfg.HealthEvery = DefaultHealthEvery
	}
	if cfg.Warm <= 0 {
		cfg.Warm = DefaultWarm
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Monitor{cfg: cfg, log: cfg.Logger.With(slog.String("component", "hw")), changed: make(chan struct{}, 1), power: newPower()}
}

// Pins are compared once a second while they are watched, since the kernel reports neither
// what others do with lines nor the levels of inputs without edges. Changes that the node
// knows of are published at once, those within pinsApart as one value.
const (
	pinsEvery = time.Second
	pinsApart = 100 * time.Millisecond
)

// Run watches until ctx ends.
func (m *Monitor) Run(ctx context.Context) error {
	health := live.State{
		Hub: m.cfg.Hub, Topic: picloud.TopicBoardHealth, Every: m.cfg.HealthEvery,
		Measure: func(bool) (any, error) { return m.Report(), nil },
	}
	pins := live.State{
		Hub: m.cfg.Hub, Topic: picloud.TopicBoardPins, Every: pinsEvery, Changed: m.changed, Apart: pinsApart, OnlyChanges: true,
		Measure: func(bool) (any, error) { return m.Header().Of(picloud.DefaultApp), nil }, // whose topic it is
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	faults := make(chan error, 2)
	for _, run := range []func(context.Context) error{health.Run, pins.Run} {
		group.Go(func() {
			err := run(ctx)
			if err != nil {
				cancel()
			}
			faults <- err
		})
	}
	m.watchPower(ctx)
	group.Wait()
	return errors.Join(<-faults, <-faults)
}

// PinsChanged tells that a pin has changed, which those who watch the header shall see at
// once. It never blocks.
func (m *Monitor) PinsChanged() {
	select {
	case m.changed <- struct{}{}:
	default: // it will be seen with the change before
	}
}

// Report returns the health of the board, with the conditions that last and what is
// missing.
func (m *Monitor) Report() board.Report {
	r := board.Report{Health: m.cfg.Board.Health()}
	r.Conditions = m.power.lasting()
	r.Slowed = len(r.Conditions) > 0
	if r.UndervoltageSeen == nil && m.power.seen(board.Undervoltage) {
		r.UndervoltageSeen = new(true)
	}
	if r.ThrottledSeen == nil && m.power.seen(board.Throttled) {
		r.ThrottledSeen = new(true)
	}
	r.Missing = m.cfg.Board.missing(&r.Health)
	return r
}

// Header returns the header of the board and what is on its pins.
func (m *Monitor) Header() board.Header { return m.cfg.Board.Header() }

// Strained reports whether a condition lasts, so that work which can wait has to go
// slower. It is cheap.
func (m *Monitor) Strained() bool { return m.power.strained.Load() }
