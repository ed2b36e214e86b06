package spool

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/fsnotify/fsnotify"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/backoff"
)

// Config configures a Spool.
type Config struct {
	Dir       string            // the folder with a folder for each app; made when missing
	Publisher picloud.Publisher // when it is a Checker too, a file is checked whole before its first event
	Settle    time.Duration     // how long a file written in place must be still; 0: 500 ms
	Rescan    time.Duration     // how often everything is looked at without being told; 0: 30 s
	MaxFile   int64             // bytes of one file, which is held in memory; 0: 16 MiB

	ArchiveAge   time.Duration // archived files are deleted at this age; 0: 7 days; negative: never
	RejectedAge  time.Duration // rejected files are; 0: 30 days; negative: never
	ArchiveFiles int           // newest files kept in an archive or rejected folder; 0: 10 000; negative: all

	Now     func() time.Time // nil: time.Now
	Logger  *slog.Logger     // nil: none
	Metrics *metrics.Set     // nil: none
}

// Checker is what a Publisher may offer besides: the error that Publish would
// return before anything is committed.
type Checker interface {
	Check(p picloud.Publication) error
}

// Spool takes files from a folder. Make one with New.
type Spool struct {
	cfg     Config
	log     *slog.Logger
	watcher *fsnotify.Watcher // nil: the folder is only scanned; owned by Run

	seen     map[string]sighting  // files that are not complete yet
	stuck    map[string]nuisance  // files that can be neither published nor moved
	warned   map[string]bool      // folders in trouble that were reported
	unmoved  map[string]stamp     // files that are published but could not be archived
	archived map[string]int       // files moved into a folder since it was last pruned
	again    time.Time            // when there is something to look at without an event; zero: nothing
	pause    time.Time            // no file is taken before: the node cannot take events now
	refusals backoff.Backoff      // temporary ones in a row
	held     map[string]time.Time // folders of which no file is taken before: their app is over a limit

	files, rejected, events *metrics.Counter
}

// New returns a Spool; it does nothing before Run.
func New(cfg Config) *Spool {
	setDefault(&cfg.Settle, 500*time.Millisecond)
	setDefault(&cfg.Rescan, 30*time.Second)
	setDefault(&cfg.MaxFile, 16<<20)
	setDefault(&cfg.ArchiveAge, 7*24*time.Hour)
	setDefault(&cfg.RejectedAge, 30*24*time.Hour)
	setDefault(&cfg.ArchiveFiles, 10_000)
	if abs, err := filepath.Abs(cfg.Dir); err == nil {
		cfg.Dir = abs
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = metrics.NewSet()
	}
	return &Spool{
		cfg: cfg, log: cfg.Logger.With(slog.String("component", "spool")),
		refusals: backoff.Backoff{Min: time.Second, Max: time.Minute},
		seen:     map[string]sighting{}, stuck: map[string]nuisance{}, warned: map[string]bool{}, unmoved: map[string]stamp{}, archived: map[string]int{}, held: map[string]time.Time{},
		files:    cfg.Metrics.GetOrCreateCounter(`picloud_spool_files_total{result="published"}`),
		rejected: cfg.Metrics.GetOrCreateCounter(`picloud_spool_files_total{result="rejected"}`),
		events:   cfg.Metrics.GetOrCreateCounter("picloud_spool_events_total"),
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// pruneEvery is how often old files are looked for.
const pruneEvery = time.Hour

// Run takes files until ctx ends, and returns nil then. A file that is being
// published is finished or left in place. Trouble with the folder is logged and
// tried again with every rescan; it never ends Run.
func (s *Spool) Run(ctx context.Context) error {
	events, faults := s.watch()
	if s.watcher != nil {
		defer func() { _ = s.watcher.Close() }()
	}
	rescan := time.NewTicker(s.cfg.Rescan)
	defer rescan.Stop()
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()
	wake := time.NewTimer(0)
	defer wake.Stop()

	s.prune(ctx)
	s.scanAll(ctx)
	for {
		s.arm(wake)
		select {
		case <-ctx.Done():
			return nil
		case e := <-events:
			s.scanAfter(ctx, e, events)
		case err := <-faults:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				s.log.Warn("watching the spool folder: relying on the rescan", slog.Any("err", err))
			}
			s.scanAll(ctx)
		case <-rescan.C:
			s.scanAll(ctx)
		case <-wake.C:
			s.scanAll(ctx)
		case <-prune.C:
			s.prune(ctx)
		}
	}
}

// watch begins to watch. Without inotify, or with its limits used up, the
// rescan alone finds files.
func (s *Spool) watch() (<-chan fsnotify.Event, <-chan error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		s.log.Warn("watching the spool folder: relying on the rescan", slog.Any("err", err))
		return nil, nil
	}
	s.watcher = w
	return w.Events, w.Errors
}

// arm sets wake to the next time that something is due without an event.
func (s *Spool) arm(wake *time.Timer) {
	wake.Stop()
	if !s.again.IsZero() {
		wake.Reset(max(s.again.Sub(s.cfg.Now()), time.Millisecond))
	}
}

// due asks to be woken at t at the latest.
func (s *Spool) due(t time.Time) {
	if s.again.IsZero() || t.Before(s.again) {
		s.again = t
	}
}

// maxDrain bounds how many events are gathered before the folders they concern
// are looked at.
const maxDrain = 4096

// scanAfter looks at the folders that e and the events behind it are about.
// Events only say where to look: what is there is decided by looking.
func (s *Spool) scanAfter(ctx context.Context, e fsnotify.Event, more <-chan fsnotify.Event) {
	folders := map[string]bool{filepath.Dir(e.Name): true}
	for range maxDrain {
		select {
		case e = <-more:
			folders[filepath.Dir(e.Name)] = true
			continue
		default:
		}
		break
	}
	if folders[filepath.Dir(s.cfg.Dir)] || folders[s.cfg.Dir] {
		s.scanAll(ctx) // the root itself may have been replaced
		return
	}
	for f := range folders {
		s.scan(ctx, f)
	}
}

// scanAll looks at every folder, and makes the root when it is missing.
func (s *Spool) scanAll(ctx context.Context) {
	s.again = time.Time{}
	// Group members drop files here; the umask and the packaging say which other
	// users may.
	if err := os.MkdirAll(s.cfg.Dir, 0o770); err != nil { // #nosec G301
		s.warnOnce(s.cfg.Dir, "the spool folder cannot be made: check its owner and the disk", err)
		return
	}
	if s.cfg.Now().Before(s.pause) {
		s.due(s.pause)
	}
	s.forget()
	s.scan(ctx, s.cfg.Dir)
}

// refused leaves everything in place for a while: the node cannot take events
// now. The pause is at least what the error asks for, and grows with each refusal in
// a row.
func (s *Spool) refused(err error) {
	if s.refusals.Failures() == 0 {
		s.log.Warn("files wait in the spool: the node does not take events now", slog.Any("err", err))
	}
	d := s.refusals.Next()
	if e := picloud.AsError(err); e != nil {
		d = max(d, e.RetryAfter)
	}
	s.pause = s.cfg.Now().Add(d)
	s.due(s.pause)
}

// maxHeld bounds how long the files of a folder wait before they are tried again.
const maxHeld = 10 * time.Minute

// hold leaves the files of a folder in place for a while: their app is over a limit.
// Other folders go on.
func (s *Spool) hold(dir string, err error) {
	if _, known := s.held[dir]; !known {
		s.log.Warn("files wait in a spool folder: their app is over a limit", slog.String("path", dir), slog.Any("err", err))
	}
	d := time.Second
	if e := picloud.AsError(err); e != nil {
		d = min(max(d, e.RetryAfter), maxHeld)
	}
	s.held[dir] = s.cfg.Now().Add(d)
	s.due(s.held[dir])
}

// warnOnce logs trouble with a folder the first time.
func (s *Spool) warnOnce(dir, msg string, err error) {
	if !s.warned[dir] {
		s.warned[dir] = true
		s.log.Warn(msg, slog.String("path", dir), slog.Any("err", err)) //nolint:sloglint // the message is a constant of the caller
	}
}
