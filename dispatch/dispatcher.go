package dispatch

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/budget"
)

// DispatcherConfig configures a Dispatcher. Zero values mean the defaults.
type DispatcherConfig struct {
	Outbox  Outbox
	Handler Handler
	Tick    time.Duration  // how often the clock is looked at; default 1 s
	Budget  *budget.Budget // of the data of deliveries that run; nil: of the default size
	Logger  *slog.Logger   // nil: discard
	Now     func() time.Time

	// ClockSure reports whether the clock can be believed; nil: it always can.
	ClockSure func() bool
}

// Dispatcher carries out the deliveries to triggers. Its methods may be called
// by anybody.
type Dispatcher struct {
	cfg     DispatcherConfig
	log     *slog.Logger
	changed chan struct{} // has room for one
	beat    chan struct{} // has no room: the loop takes from it when it goes round
	counts  counts

	mu     sync.Mutex // guards what follows
	queues map[string]*queue
	ending map[string]<-chan struct{} // of triggers whose queue was stopped: closed when it has ended
}

// NewDispatcher returns a Dispatcher.
func NewDispatcher(cfg DispatcherConfig) *Dispatcher {
	cfg.Tick = or(cfg.Tick, time.Second)
	if cfg.Budget == nil {
		cfg.Budget = budget.New(0, nil)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.ClockSure == nil {
		cfg.ClockSure = func() bool { return true }
	}
	d := &Dispatcher{cfg: cfg, log: cfg.Logger.With(slog.String("component", "dispatch")), changed: make(chan struct{}, 1), beat: make(chan struct{}), queues: map[string]*queue{}, ending: map[string]<-chan struct{}{}}
	d.counts.load.budget = cfg.Budget
	return d
}

// Enqueued wakes the queue of a trigger. It never blocks.
func (d *Dispatcher) Enqueued(trigger string, lsn uint64) {
	d.mu.Lock()
	q := d.queues[trigger]
	d.mu.Unlock()
	if q != nil {
		q.enqueued(lsn)
	}
}

// TriggersChanged lets the dispatcher look at the triggers again. It never blocks.
func (d *Dispatcher) TriggersChanged() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// Beat returns nil when the loop goes round, and an error when ctx ends before: it hangs,
// or does not run.
func (d *Dispatcher) Beat(ctx context.Context) error {
	select {
	case d.beat <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run delivers until ctx ends, and returns when all runs have ended. What was
// under way then is given back, and uses no attempt.
func (d *Dispatcher) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	clock := newClock(d.cfg, d.log)
	tick := time.NewTicker(d.cfg.Tick)
	defer tick.Stop()
	for {
		triggers := d.cfg.Outbox.AllTriggers()
		d.reconcile(ctx, &group, triggers)
		clock.set(triggers)
		clock.look(ctx)
		for again := false; !again; {
			select {
			case <-d.beat:
			case <-tick.C:
				clock.look(ctx)
			case <-d.changed:
				again = true
			case <-ctx.Done():
				d.reconcile(ctx, &group, nil)
				return nil
			}
		}
	}
}

// reconcile starts, changes and stops queues, so that there is one for each trigger
// that is enabled.
func (d *Dispatcher) reconcile(ctx context.Context, group *sync.WaitGroup, triggers []picloud.Trigger) {
	d.mu.Lock()
	defer d.mu.Unlock()
	wanted := map[string]bool{}
	for _, t := range triggers {
		if !t.Enabled {
			continue
		}
		wanted[t.ID] = true
		q := d.queues[t.ID]
		if q == nil {
			q = newQueue(d.cfg, t, d.log, &d.counts)
			q.last = d.ending[t.ID]
			d.queues[t.ID] = q
			runCtx, stop := context.WithCancel(ctx)
			q.stop = stop
			group.Go(func() { q.run(runCtx) })
			continue
		}
		q.change(t)
	}
	for id, q := range d.queues {
		if !wanted[id] {
			q.stop()
			delete(d.queues, id)
			d.ending[id] = q.gone
		}
	}
	maps.DeleteFunc(d.ending, func(_ string, gone <-chan struct{}) bool {
		select {
		case <-gone:
			return true
		default:
			return false
		}
	})
}

// counts are how deliveries went since the start, of all triggers there were, and what
// they hold in memory.
type counts struct {
	done, failed, buried atomic.Uint64
	load                 load
}

// Totals say how the deliveries of all triggers are doing.
type Totals struct {
	Triggers int    // that are enabled
	Running  int    // deliveries at this moment
	Waiting  int    // deliveries that are known to wait, for their turn or for another attempt
	Paused   int    // triggers that pause, because their handler could not be reached
	Error    string // why one of those does
	Held     int    // deliveries that queues know, without their data
	Done     uint64 // deliveries since the start
	Failed   uint64 // attempts since the start
	Buried   uint64 // deliveries that were given up since the start
}

// Totals returns how the deliveries of all triggers are doing.
func (d *Dispatcher) Totals() Totals {
	t := Totals{Held: int(d.counts.load.held.Load()), Done: d.counts.done.Load(), Failed: d.counts.failed.Load(), Buried: d.counts.buried.Load()}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, q := range d.queues {
		if q.trigger().Kind != picloud.TriggerHTTP {
			t.Triggers++
		}
		st := q.told()
		t.Running += st.Running
		t.Waiting += st.Waiting
		if st.Error != "" {
			t.Paused++
			t.Error = st.Error
		}
	}
	return t
}

// QueueStatus says how the deliveries of a trigger are doing.
type QueueStatus struct {
	Running  int       // at this moment
	Waiting  int       // known to wait, for their turn or for another attempt
	Paused   time.Time // until then, because the handler could not be reached; zero: not
	Error    string    // of the pause
	Done     uint64    // since the start
	Failed   uint64    // attempts since the start
	LastDone time.Time
}

// Status returns how the deliveries of a trigger are doing, by its id; false: it
// is not enabled.
func (d *Dispatcher) Status(trigger string) (QueueStatus, bool) {
	d.mu.Lock()
	q := d.queues[trigger]
	d.mu.Unlock()
	if q == nil {
		return QueueStatus{}, false
	}
	return q.told(), true
}
