package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/backoff"
)

// Journal is what a lane reads; *store.Store implements it.
type Journal interface {
	OpenLog(after uint64) (picloud.RecordReader, error)
	Wait(ctx context.Context, after uint64) error
	LastLSN() uint64
	RecordsAfter(lsn uint64) uint64
	MoveCursor(owner string, lsn uint64)
}

// Consumer does something about records. All calls come from one goroutine, in
// order; each may take as long as its context allows.
type Consumer interface {
	// Begin gets ready and tells where things stand. It is called first, and
	// again after every error.
	Begin(ctx context.Context) (picloud.Standing, error)
	// Take does all records or none, and is then done up to an LSN: that of
	// the last record, or a later one when nothing of concern lies between.
	// When it returns nil that is durable.
	Take(ctx context.Context, batch []picloud.Record, upTo uint64) error
	// SetAside gives up on a record that Take refuses for good, and keeps it
	// where a person finds it.
	SetAside(ctx context.Context, r picloud.Record, reason error) error
	// Skip goes on after a record although earlier ones are not done: the
	// journal had to drop them. It returns how many of them are lost.
	Skip(ctx context.Context, to uint64) (lost uint64, err error)
	// Tick is called now and then, busy or not, with how many records wait.
	Tick(ctx context.Context, waiting uint64) error
	// End says that no call follows.
	End()
}

// Config configures a Lane. Zero values mean the defaults.
type Config struct {
	Name     string // of the cursor
	Journal  Journal
	Consumer Consumer

	MaxRecords int           // of a batch; default 500. What was committed together may exceed it
	MaxBytes   int           // of a batch; default 1 MiB
	TickEvery  time.Duration // default 15 s
	BackoffMin time.Duration // first pause after an error; default 1 s
	BackoffMax time.Duration // longest pause; default 1 min
	Tries      int           // of a single record, before it is set aside; default 3

	// Busy reports that the board is to be spared: a lane that catches up works for a
	// quarter of the time. nil: never.
	Busy func() bool

	// Changed is called, in the lane's goroutine, when the state has changed.
	Changed func(Status)
	Logger  *slog.Logger // nil: discard
	Now     func() time.Time
}

func (c Config) withDefaults() Config {
	c.MaxRecords = or(c.MaxRecords, 500)
	c.MaxBytes = or(c.MaxBytes, 1<<20)
	c.TickEvery = or(c.TickEvery, 15*time.Second)
	c.BackoffMin = or(c.BackoffMin, time.Second)
	c.BackoffMax = or(c.BackoffMax, time.Minute)
	c.Tries = or(c.Tries, 3)
	if c.Busy == nil {
		c.Busy = func() bool { return false }
	}
	if c.Changed == nil {
		c.Changed = func(Status) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Lane drives one consumer. Its methods but Run may be called by anybody.
type Lane struct {
	cfg    Config
	log    *slog.Logger
	pause  backoff.Backoff
	ticked time.Time
	poke   chan struct{} // has room for one: do not wait any longer

	mu     sync.Mutex // guards what follows
	status Status
	meter  meter
}

// New returns a Lane.
func New(cfg Config) *Lane {
	cfg = cfg.withDefaults()
	return &Lane{
		cfg:   cfg,
		log:   cfg.Logger.With(slog.String("component", "dispatch"), slog.String("lane", cfg.Name)),
		pause: backoff.Backoff{Min: cfg.BackoffMin, Max: cfg.BackoffMax},
		poke:  make(chan struct{}, 1),
	}
}

// Poke ends a pause, and lets the consumer tick at once.
func (l *Lane) Poke() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// Run hands over records until ctx ends, and then returns nil. Errors are told in
// the status: none of them is a reason to stop the node.
func (l *Lane) Run(ctx context.Context) error {
	defer l.cfg.Consumer.End()
	for {
		err := l.work(ctx)
		if ctx.Err() != nil {
			return nil
		}
		wait := l.pause.Next()
		l.failed(err, wait)
		select {
		case <-time.After(wait):
		case <-l.poke:
		case <-ctx.Done():
			return nil
		}
	}
}

// work begins and goes on until something fails.
func (l *Lane) work(ctx context.Context) error {
	st, err := l.cfg.Consumer.Begin(ctx)
	if err != nil {
		return err
	}
	l.ticked = l.cfg.Now()
	reader, err := l.open(ctx, &st)
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close() }() // only read
	l.begun(st)
	for {
		batch, err := l.fill(reader)
		if err != nil {
			return err
		}
		if len(batch) > 0 {
			l.setState(StateDraining)
			if err := l.drain(ctx, batch, reader.Passed()); err != nil {
				return err
			}
		}
		l.moved(reader.Passed(), 0)
		l.pause.Reset()
		if l.cfg.Now().Sub(l.ticked) >= l.cfg.TickEvery {
			if err := l.tick(ctx); err != nil {
				return err
			}
		}
		if len(batch) == 0 {
			l.setState(StateIdle)
			if err := l.wait(ctx, reader.Passed()); err != nil {
				return err
			}
		}
	}
}

// politeness bounds how long a lane that catches up steps aside after a batch, and
// longestPause how long it does so to spare the board.
const (
	politeness   = 20 * time.Millisecond
	longestPause = 10 * time.Second
)

// drain hands over what there is. While it catches up and others write to the
// journal, it works for half of the time: a backlog must not hold up what goes
// on now.
func (l *Lane) drain(ctx context.Context, batch []picloud.Record, upTo uint64) error {
	began, newest := time.Now(), l.cfg.Journal.LastLSN()
	if err := l.take(ctx, batch, upTo); err != nil {
		return err
	}
	now := l.cfg.Journal.LastLSN()
	pause := min(time.Since(began), politeness)
	switch {
	case l.cfg.Journal.RecordsAfter(upTo) < uint64(l.cfg.MaxRecords): // #nosec G115 -- positive
		return nil
	case l.cfg.Busy():
		pause = min(3*time.Since(began), longestPause)
	case now == newest:
		return nil
	}
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
	return nil
}

// open begins to read where things stand. What the journal has dropped is
// skipped.
func (l *Lane) open(ctx context.Context, st *picloud.Standing) (picloud.RecordReader, error) {
	for {
		reader, err := l.cfg.Journal.OpenLog(st.Done)
		gone, ok := errors.AsType[*picloud.RecordsGoneError](err)
		if !ok {
			return reader, err
		}
		lost, err := l.cfg.Consumer.Skip(ctx, gone.First-1)
		if err != nil {
			return nil, err
		}
		if lost > 0 {
			l.log.Error("records were dropped before they were handed over", slog.Uint64("records", lost))
		}
		st.Lost += lost
		st.Done = gone.First - 1
	}
}

// fill returns what there is, up to the limits; never a part of what was
// committed together.
func (l *Lane) fill(reader picloud.RecordReader) ([]picloud.Record, error) {
	var batch []picloud.Record
	size := 0
	for {
		r, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return batch, nil
		}
		if _, ok := errors.AsType[*picloud.RecordsGoneError](err); ok {
			return batch, err // begin again, and skip
		}
		if err != nil {
			return nil, fmt.Errorf("read the journal: %w", err)
		}
		batch = append(batch, r)
		size += r.Size
		if !r.More && (len(batch) >= l.cfg.MaxRecords || size >= l.cfg.MaxBytes) {
			return batch, nil
		}
	}
}

// take hands over a batch. When it is refused for good it is halved until the
// record that is to blame stands alone.
func (l *Lane) take(ctx context.Context, batch []picloud.Record, upTo uint64) error {
	err := l.cfg.Consumer.Take(ctx, batch, upTo)
	switch {
	case err == nil:
		l.moved(upTo, len(batch))
		return nil
	case !permanent(err):
		return err
	case len(batch) == 1:
		return l.giveUp(ctx, batch[0], err)
	}
	half := len(batch) / 2
	if err := l.take(ctx, batch[:half], batch[half-1].LSN); err != nil {
		return err
	}
	return l.take(ctx, batch[half:], upTo)
}

// giveUp tries one record again, and sets it aside.
func (l *Lane) giveUp(ctx context.Context, r picloud.Record, err error) error {
	for try := 1; try < l.cfg.Tries; try++ {
		select {
		case <-time.After(l.cfg.BackoffMin / 10):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		again := l.cfg.Consumer.Take(ctx, []picloud.Record{r}, r.LSN)
		if again == nil {
			l.moved(r.LSN, 1)
			return nil
		}
		if !permanent(again) {
			return again
		}
		err = again
	}
	if aside := l.cfg.Consumer.SetAside(ctx, r, err); aside != nil {
		return aside
	}
	kind, app, name := what(&r)
	l.log.Warn("record was set aside", slog.Uint64("lsn", r.LSN), slog.String("kind", kind), slog.String("app", app), slog.String("name", name), slog.Any("err", err))
	l.mu.Lock()
	l.status.SetAside++
	refused := append([]picloud.Refused{{Kind: kind, App: app, Name: strings.Replace(name, "\x00", "/", 1), Reason: err.Error()}}, l.status.Refused...)
	l.status.Refused = refused[:min(len(refused), picloud.MaxRefused)]
	l.mu.Unlock()
	l.moved(r.LSN, 1)
	l.cfg.Changed(l.Status())
	return nil
}

// what names a record for people.
func what(r *picloud.Record) (kind, app, name string) {
	if e := r.Event; e != nil {
		return "event", e.App, e.Topic
	}
	return string(r.Change.Kind), r.Change.App, r.Change.Name
}

// wait returns when there is something to do.
func (l *Lane) wait(ctx context.Context, passed uint64) error {
	due := l.cfg.TickEvery - l.cfg.Now().Sub(l.ticked)
	waitCtx, cancel := context.WithTimeout(ctx, max(due, time.Millisecond))
	defer cancel()
	poked := make(chan bool, 1)
	go func() {
		select {
		case <-l.poke:
			poked <- true
			cancel()
		case <-waitCtx.Done():
			poked <- false
		}
	}()
	err := l.cfg.Journal.Wait(waitCtx, passed)
	cancel()
	wasPoked := <-poked
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case wasPoked || waitCtx.Err() != nil && errors.Is(err, context.DeadlineExceeded):
		return l.tick(ctx)
	case err != nil && !errors.Is(err, context.Canceled):
		return err
	}
	return nil
}

func (l *Lane) tick(ctx context.Context) error {
	l.ticked = l.cfg.Now()
	return l.cfg.Consumer.Tick(ctx, l.Status().Waiting)
}

// permanent reports whether an error says of itself that another attempt will not
// help.
func permanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}
