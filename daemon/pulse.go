package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// pulseEvery is how often beats are asked for, unless WatchdogSec= asks for it more often.
const pulseEvery = 10 * time.Second

// pulse asks the parts that everything depends on for a beat, one after the other, and
// tells the watchdog of systemd when all have given one. No remote is among them. Its
// methods may be called concurrently.
type pulse struct {
	parts   []beating
	log     *slog.Logger
	every   time.Duration // two of these without a beat, and a part counts as hung
	watched bool          // by systemd

	mu      sync.Mutex // guards what follows
	waitFor string     // the part that was asked and has not answered; empty: none
	asked   time.Time
}

// beating is a part and how to ask it: nil when it goes round, an error when the context
// ends before.
type beating struct {
	name string
	beat func(context.Context) error
}

// newPulse returns the pulse of a machine, whose dispatcher does not run when the data
// directory is read-only.
func newPulse(m *machine, log *slog.Logger) *pulse {
	p := &pulse{parts: []beating{{"the committer", m.store.Beat}, {"the hub", m.hub.Beat}}, log: log, every: pulseEvery}
	if !m.store.Health().ReadOnly {
		p.parts = append(p.parts, beating{"the dispatcher", m.owed.Beat})
	}
	if patience, err := sd.SdWatchdogEnabled(false); err == nil && patience > 0 { // a malformed request for a watchdog is none
		p.watched, p.every = true, min(p.every, patience/4) // that a part hangs is logged before systemd acts
	}
	return p
}

// Run asks for beats until ctx ends.
func (p *pulse) Run(ctx context.Context) error {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		if p.ask(ctx) != nil {
			return nil // the node stops
		}
		if p.watched {
			notify(saysAlive)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// ask returns nil when every part has beaten, however long that takes.
func (p *pulse) ask(ctx context.Context) error {
	defer p.wait("")
	for _, part := range p.parts {
		p.wait(part.name)
		hung := time.AfterFunc(2*p.every, func() {
			p.log.Error("part of the node hangs", slog.String("part", part.name))
		})
		err := part.beat(ctx)
		hung.Stop()
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *pulse) wait(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waitFor, p.asked = part, time.Now()
}

// alive returns an error when a part hangs.
func (p *pulse) alive() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := time.Since(p.asked); p.waitFor != "" && d > 2*p.every {
		return fmt.Errorf("%s has not moved for %v", p.waitFor, d.Round(time.Second))
	}
	return nil
}
