package scrub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/picloud/picloud/store"
)

// Store is what is looked at; *store.Store implements it.
type Store interface {
	Verify(ctx context.Context, pace func(v store.Verification) error) (store.Verification, error)
	Note(name string) []byte
	SetNote(ctx context.Context, name string, value []byte) error
	TellDifference(text string)
}

// Comparison is how a copy elsewhere and the node differed.
type Comparison struct {
	Things  uint64   // that the node has
	Lost    []string // things that only the copy has, or has in a newer version
	Missing []string // things that were missing in the copy, and are copied now
}

// Config configures a Scrubber.
type Config struct {
	Store       Store
	Compare     func(ctx context.Context) (Comparison, error) // nil: there is no copy
	Busy        func() bool                                   // the board has better things to do; nil: never
	Every       time.Duration                                 // default a week
	BytesPerSec int64                                         // of a quiet look; default 1 MiB
	Now         func() time.Time
	Logger      *slog.Logger // nil: discard
}

// Scrubber looks. It is safe for concurrent use.
type Scrubber struct {
	cfg   Config
	log   *slog.Logger
	asked chan struct{} // has room for one

	mu     sync.Mutex
	status Status
}

// Status says how far the present look is, or what the last one has found.
type Status struct {
	Running  bool
	Started  time.Time // zero: there was none since the start of the node
	Ended    time.Time // of the last one that came to its end, over restarts; zero: there was none
	Verified store.Verification
	Error    string // why the last one did not come to its end

	Compared    *Comparison // with the copy; nil: it was not
	NotCompared string      // why
}

// note is where the store keeps when the last look ended.
const note = "scrub"

// firstAfter is how long a node that was never looked at, or is late, runs before it is.
const firstAfter = time.Hour

// busyFor is how long a quiet look pauses on a busy board, and busyEvery how often it looks
// whether it is one.
const (
	busyFor   = time.Minute
	busyEvery = time.Second
)

// New returns a Scrubber, which does nothing until Run is called.
func New(cfg Config) *Scrubber {
	if cfg.Every <= 0 {
		cfg.Every = 7 * 24 * time.Hour
	}
	if cfg.BytesPerSec <= 0 {
		cfg.BytesPerSec = 1 << 20
	}
	if cfg.Busy == nil {
		cfg.Busy = func() bool { return false }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Scrubber{cfg: cfg, log: cfg.Logger.With(slog.String("component", "scrub")), asked: make(chan struct{}, 1)}
	if at, err := time.Parse(time.RFC3339, string(cfg.Store.Note(note))); err == nil {
		s.status.Ended = at
	}
	return s
}

// Start asks for a look at full speed. One that is going on goes on at full speed.
func (s *Scrubber) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.status.Running {
		s.status = Status{Running: true, Started: s.cfg.Now(), Ended: s.status.Ended}
	}
	select {
	case s.asked <- struct{}{}:
	default: // it has been asked for
	}
}

// Status returns the present status.
func (s *Scrubber) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Run looks when it is time, or when it is asked to, until ctx ends.
func (s *Scrubber) Run(ctx context.Context) error {
	for {
		timer := time.NewTimer(s.untilDue())
		select {
		case <-s.asked:
			s.look(ctx, false)
		case <-timer.C:
			s.look(ctx, true)
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// untilDue returns how long it is to the next quiet look. The clock may have gone back.
func (s *Scrubber) untilDue() time.Duration {
	st := s.Status()
	if st.Ended.IsZero() || st.Error != "" {
		return firstAfter
	}
	return min(max(s.cfg.Every-s.cfg.Now().Sub(st.Ended), firstAfter), s.cfg.Every)
}

func (s *Scrubber) look(ctx context.Context, quiet bool) {
	s.change(func(st *Status) {
		if !st.Running || quiet {
			*st = Status{Running: true, Started: s.cfg.Now(), Ended: st.Ended}
		}
	})
	began, read, asked := time.Now(), int64(0), time.Time{}
	v, err := s.cfg.Store.Verify(ctx, func(v store.Verification) error {
		s.change(func(st *Status) { st.Verified = v })
		if quiet {
			due := time.Duration(float64(v.Bytes-read) / float64(s.cfg.BytesPerSec) * float64(time.Second))
			due -= time.Since(began)
			if time.Since(asked) >= busyEvery {
				if asked = time.Now(); s.cfg.Busy() {
					due = max(due, busyFor)
				}
			}
			quiet = s.rest(ctx, due)
			began, read = time.Now(), v.Bytes
		}
		return ctx.Err()
	})
	compared, not := s.compare(ctx, err)
	s.change(func(st *Status) {
		st.Running, st.Verified, st.Error, st.Compared, st.NotCompared = false, v, "", compared, not
		if st.Ended = s.cfg.Now(); err != nil {
			st.Error = err.Error()
		}
	})
	log := s.log.With(slog.Uint64("records", v.Records), slog.Uint64("rows", v.Rows), slog.Uint64("files", v.Files), slog.Int64("bytes", v.Bytes))
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		log.Error("what is kept could not be verified", slog.Any("err", err))
		return
	case v.Damaged > 0:
		log.Error("damage was found", slog.Uint64("damaged", v.Damaged))
	default:
		log.Info("verified")
	}
	if err := s.cfg.Store.SetNote(ctx, note, []byte(s.cfg.Now().UTC().Format(time.RFC3339))); err != nil && !errors.Is(err, context.Canceled) {
		log.Warn("the time of the look was not kept", slog.Any("err", err))
	}
}

// compareFor is how long a comparison with the copy may take, with the time until it begins.
const compareFor = 15 * time.Minute

// compare holds the copy against the node after a look that ended with an error, or none.
func (s *Scrubber) compare(ctx context.Context, err error) (c *Comparison, not string) {
	if s.cfg.Compare == nil || err != nil {
		return nil, ""
	}
	ctx, cancel := context.WithTimeout(ctx, compareFor)
	defer cancel()
	found, err := s.cfg.Compare(ctx)
	if err != nil {
		return nil, err.Error()
	}
	if n := len(found.Missing); n > 0 {
		s.log.Warn("things were missing in the copy, and are copied now", slog.Int("things", n), slog.String("such_as", found.Missing[0]))
	}
	if n := len(found.Lost); n > 0 {
		s.cfg.Store.TellDifference(fmt.Sprintf("The copy in Postgres has %d things that this node has not, or has older versions of, such as %s, and no loss is known. "+
			"The copy was changed, or the card has lost them.", n, found.Lost[0]))
	}
	return &found, ""
}

// rest lets others use the board for a while. It reports false when a look at full speed
// was asked for.
func (s *Scrubber) rest(ctx context.Context, d time.Duration) (quiet bool) {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.asked:
		return false
	case <-timer.C:
	case <-ctx.Done():
	}
	return true
}

func (s *Scrubber) change(fn func(st *Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(&s.status)
}
