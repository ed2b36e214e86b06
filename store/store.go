package store

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// Broadcaster takes committed events to live subscribers. Its methods never
// block, never fail, and are called in order by one goroutine.
type Broadcaster interface {
	// Broadcast hands over events in the order of their positions. They are
	// durable, or pending ones of telemetry topics.
	Broadcast(events []picloud.Event)
	// Revoke ends live streams whose right has ended.
	Revoke(r picloud.Revocation)
}

// Config configures a Store. Zero values mean the defaults.
type Config struct {
	Dir          string           // data directory; made when missing
	NodeName     string           // for people; default: the host name
	Broadcaster  Broadcaster      // may be set later with SetBroadcaster; nil: none
	AppDeleted   func(app string) // may be set later with SetAppDeleted; nil: none
	Deliverer    Deliverer        // may be set later with SetDeliverer; nil: none
	Now          func() time.Time
	Clock        func() Clock      // what is known of the clock; nil: it is right
	Logger       *slog.Logger      // nil: discard
	Metrics      *metrics.Set      // nil: not exported
	Retention    picloud.Retention // for topics that do not say; default 10 000 events, 7 days, 64 MiB
	JournalBytes int64             // disk budget of the journal; default 256 MiB
	ReserveBytes int64             // free space that is left to others; default 64 MiB, negative: none
	Intake       int               // commands that may wait; default 4096
	IntakeBytes  int64             // bytes of data that may wait; default 16 MiB

	// SyncWithin is how long an event of a telemetry topic may wait for its
	// fsync. Default 900 ms, which keeps the promised second.
	SyncWithin time.Duration
	// CheckpointBytes is how far the journal may run ahead of state.db, which
	// bounds the time a start takes. Default 16 MiB.
	CheckpointBytes int64
	// CheckpointAfter is how long changes may wait for a checkpoint. Default
	// 15 minutes. An idle node writes none.
	CheckpointAfter time.Duration

	// Busy reports that the board is to be spared: checkpoints come half as often. nil: never.
	Busy func() bool

	// MaxWaiting is how many deliveries of a trigger may wait as positions in memory and
	// state.db; those after them wait in the journal. Default 10 000.
	MaxWaiting int

	// DataBytes bounds what each app may keep of key-value pairs, documents and files,
	// names included; 0: no bound but the disk.
	DataBytes int64

	// Results bounds the results that each app may keep, waiting ones included, for
	// callers with a key, and again for anonymous callers; default 10 000.
	Results int64
	// ResultBytes bounds what each app may keep of answers to requests that are answered
	// later, for callers with a key, and what may wait of such requests; default 64 MiB.
	// AnonymousBytes does so for requests of anonymous callers and their answers
	// together, each of which takes at least 1 MiB until it is answered; default 32 MiB.
	ResultBytes, AnonymousBytes int64

	// IdempotencyKeys bounds how many idempotency keys each app may use in 24 hours,
	// of which 64 bytes count as one; default 200 000.
	IdempotencyKeys int64

	// TopicNames bounds under how many names of topics that are not registered each app
	// may have events; default 4 000.
	TopicNames int64

	// MaxFile bounds the content of a file in bytes; default picloud.DefaultMaxFile.
	MaxFile int64

	// Credential is what the key of secrets is derived from; empty: the recovery key
	// in node.json.
	Credential []byte

	// CheckSchedule returns the first fault of the schedule of a trigger that is restored;
	// nil: schedules are not read.
	CheckSchedule func(t picloud.Trigger) error

	// Readers names those who read the journal with a cursor of their own: the
	// journal keeps what they have not done.
	Readers []string

	// WearBudget is how many bytes a day the card should bear. It limits nothing:
	// it is what Stats are compared with. Default 1 GiB.
	WearBudget int64

	// JournalFS replaces the file system below the journal; nil: the real one.
	JournalFS journal.FS
	// SegmentSize of the journal; 0: its default.
	SegmentSize int64

	making bool // the directory is being made: that it has an identity and no journal is no loss
}

func (c Config) withDefaults() Config {
	if c.NodeName == "" {
		c.NodeName, _ = os.Hostname() // an empty name is only less pretty
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = metrics.NewSet()
	}
	c.Retention = c.Retention.Or(picloud.Retention{MaxEvents: 10_000, MaxAge: 7 * 24 * time.Hour, MaxBytes: 64 << 20})
	c.JournalBytes = or(c.JournalBytes, 256<<20)
	c.ReserveBytes = or(c.ReserveBytes, 64<<20)
	c.MaxWaiting = or(c.MaxWaiting, maxWaiting)
	c.Results = or(c.Results, 10_000)
	c.ResultBytes = or(c.ResultBytes, 64<<20)
	c.AnonymousBytes = or(c.AnonymousBytes, 32<<20)
	c.IdempotencyKeys = or(c.IdempotencyKeys, 200_000)
	c.TopicNames = or(c.TopicNames, 4_000)
	c.MaxFile = or(c.MaxFile, picloud.DefaultMaxFile)
	c.Intake = or(c.Intake, 4096)
	c.IntakeBytes = or(c.IntakeBytes, 16<<20)
	c.WearBudget = or(c.WearBudget, 1<<30)
	c.SyncWithin = or(c.SyncWithin, 900*time.Millisecond)
	c.CheckpointBytes = or(c.CheckpointBytes, 16<<20)
	c.CheckpointAfter = or(c.CheckpointAfter, 15*time.Minute)
	return c
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Store is the node's memory. Its methods are safe for concurrent use, but for
// the order of life: Open, SetBroadcaster, Run, Close.
type Store struct {
	cfg      Config
	log      *slog.Logger
	lock     *os.File
	lockMade bool // by this process: there was none
	ident    identity

	identKept    bool // node.json was lost, and the id was found elsewhere
	identMissing bool // there was neither node.json nor its copy

	journal   *journal.Journal
	journalID uint64
	tables    *tables
	catalog   atomic.Pointer[catalog] // what is committed; never changed in place

	intake     *intake
	commands   sync.Pool     // of commands that were answered
	nudge      chan struct{} // has room for one: a reader of the journal has moved on
	beat       chan struct{} // has no room: the committer takes from it when it goes round
	stopping   atomic.Bool
	failed     atomic.Bool                  // a write or fsync failed: nothing more is written
	passed     struct{ first, last uint64 } // LSNs that the start has passed over; set by Open
	readOnly   bool                         // the directory cannot be written; set by Open
	ended      chan struct{}                // closed when Run has returned
	endedOnce  sync.Once
	commit     committer
	keyUse     keyUse
	incidents  incidents
	healing    healing
	cursors    cursors
	runs       runs
	scripts    scripts
	blobs      blobs
	uploads    uploads
	inbox      inbox
	shared     shared
	space      space
	health     health
	metrics    storeMetrics
	dropped    dropped
	wear       wear
	belief     belief
	idemPeriod atomic.Uint32 // of the newest event with a key that is committed
	maintainMu sync.Mutex    // held while segments are dropped, state.db is rewritten, or a backup takes its bearings
}

// SetBroadcaster sets who is told of committed events. Call it before Run.
func (s *Store) SetBroadcaster(b Broadcaster) { s.cfg.Broadcaster = b }

// Node returns who this node is.
func (s *Store) Node() picloud.Node { return s.ident.node(s.cfg.NodeName) }

// RecoveryKey returns what proves that who restores this node from Postgres may
// do so. It is a secret.
func (s *Store) RecoveryKey() []byte { return s.ident.RecoveryKey }

// Close writes a checkpoint and closes all files. Call it after Run has
// returned. The directory is consistent without it too: it only makes the next
// start faster.
func (s *Store) Close() error {
	s.end()
	err := s.finish()
	if cerr := s.journal.Close(); err == nil && cerr != nil {
		err = cerr
	}
	if cerr := s.tables.close(); err == nil && cerr != nil {
		err = cerr
	}
	if cerr := s.shared.close(); err == nil && cerr != nil {
		err = cerr
	}
	if s.lock != nil {
		_ = s.lock.Close() // releases the lock; nothing was written through it
	}
	return err
}

// Stats are figures for status pages.
type Stats struct {
	JournalBytes int64
	Segments     int
	FirstLSN     uint64
	LastLSN      uint64
	Events       uint64    // published since start
	Commits      uint64    // groups written since start
	LastCommit   time.Time // zero: none since start
	Written      int64     // bytes to the card since start
	WrittenDay   int64     // of these, in the last 24 hours
	WearBudget   int64     // that should not be more than this

	TriggersBehind int    // triggers of which more deliveries wait than may
	Dropped        uint64 // deliveries given up since start because their records were gone
}

// Stats returns the present figures.
func (s *Store) Stats() Stats {
	st := Stats{
		JournalBytes: s.journal.SizeOnDisk(),
		LastLSN:      uint64(s.journal.Written()),
		Events:       s.metrics.events.Get(),
		Commits:      s.metrics.commits.Get(),
		Written:      s.wear.all(),
		WrittenDay:   s.wear.day(s.cfg.Now()),
		WearBudget:   s.cfg.WearBudget,

		TriggersBehind: s.catalog.Load().behind().Len(),
		Dropped:        s.metrics.givenUp.Get(),
	}
	if at := s.commit.lastCommit.Load(); at != 0 {
		st.LastCommit = fromMicros(at)
	}
	segments := s.journal.Segments()
	st.Segments = len(segments)
	if len(segments) > 0 {
		st.FirstLSN = uint64(segments[0].Base)
	}
	return st
}

// Beat returns nil when the committer goes round, and an error when ctx ends before: the
// committer hangs, is busy with a slow disk, or does not run. A store that is open for
// reading has no committer, and beats at once.
func (s *Store) Beat(ctx context.Context) error {
	if s.readOnly {
		return nil
	}
	select {
	case s.beat <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) path(name string) string { return filepath.Join(s.cfg.Dir, name) }

func (s *Store) end() { s.endedOnce.Do(func() { close(s.ended) }) }

// Times are kept as microseconds since 1970, which is the precision of what is
// shown.
func micros(t time.Time) int64      { return t.UnixMicro() }
func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }
