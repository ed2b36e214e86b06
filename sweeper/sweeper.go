package sweeper

import (
	"context"
	"log/slog"
	"time"
)

// Every is how often tasks are done.
const Every = 6 * time.Hour

// Task is one kind of cleaning.
type Task struct {
	Name string
	// Sweep cleans, and returns how many things it removed. After an error it is
	// tried again the next time.
	Sweep func(ctx context.Context) (removed int, err error)
	// Follow, if not nil, keeps an eye on things between sweeps until ctx ends.
	Follow func(ctx context.Context)
}

// Sweeper does tasks, one after another.
type Sweeper struct {
	// Busy reports that the board is to be spared: tasks wait, for Every at the most. It is
	// set before Run is called. nil: never.
	Busy func() bool

	tasks []Task
	log   *slog.Logger
}

// New returns a Sweeper. The logger may be nil.
func New(log *slog.Logger, tasks ...Task) *Sweeper {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Sweeper{tasks: tasks, log: log.With(slog.String("component", "sweeper"))}
}

// Run sweeps until ctx ends. No fault of a task ends it.
func (s *Sweeper) Run(ctx context.Context) error {
	followed := make(chan struct{}, len(s.tasks))
	following := 0
	for _, t := range s.tasks {
		if t.Follow != nil {
			following++
			go func() {
				t.Follow(ctx)
				followed <- struct{}{}
			}()
		}
	}
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for ctx.Err() == nil {
		s.sweep(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	for range following {
		<-followed
	}
	return nil
}

// busyEvery is how often a task that waits looks whether the board is still to be spared.
const busyEvery = time.Minute

// rest waits while the board is to be spared.
func (s *Sweeper) rest(ctx context.Context) {
	tick := time.NewTicker(busyEvery)
	defer tick.Stop()
	for began := time.Now(); s.Busy != nil && s.Busy() && time.Since(began) < Every && ctx.Err() == nil; {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (s *Sweeper) sweep(ctx context.Context) {
	s.rest(ctx)
	for _, t := range s.tasks {
		if ctx.Err() != nil {
			return
		}
		removed, err := t.Sweep(ctx)
		if removed > 0 {
			s.log.Info("swept", slog.String("task", t.Name), slog.Int("removed", removed))
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("could not be swept as it should; it will be tried again", slog.String("task", t.Name), slog.Any("err", err))
		}
	}
}
