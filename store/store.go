package store

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud"
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
	Dir          string      // data directory; made when missing
	NodeName     string      // for people; default: the host name
	Broadcaster  Broadcaster // may be set later with SetBroadcaster; nil: nobody listens
	Now          func() time.Time
	Logger       *slog.Logger
	Metrics      *metrics.Set
	Retention    picloud.Retention // node-wide defaults for topics
	JournalBytes int64             // disk budget of the journal; default 256 MiB
	ReserveBytes int64             // free space that is left to others; default 64 MiB
	Intake       int               // commands that may wait; default 4096
}

// Store is the node's memory. Its methods are safe for concurrent use.
type Store struct{}

// Health is the store's view of its own condition.
type Health struct {
	Degraded bool
	ReadOnly bool
	NoSpace  bool
	Notes    []string // what is wrong and what to do, for people
}

// Stats are figures for status pages.
type Stats struct {
	JournalBytes int64
	Segments     int
	FirstLSN     uint64
	LastLSN      uint64
	Events       uint64 // published since start
	Commits      uint64 // groups since start
}

// LockedError says that another process has the data directory.
type LockedError struct{ Dir string }

func (e *LockedError) Error() string {
	return "data directory " + e.Dir + " is in use by another picloud; stop that one, or give this one its own with --data"
}

func Open(cfg Config) (*Store, error)                                              { panic("stub") }
func (s *Store) SetBroadcaster(b Broadcaster)                                      { panic("stub") }
func (s *Store) Run(ctx context.Context) error                                     { panic("stub") }
func (s *Store) Close() error                                                      { panic("stub") }
func (s *Store) Node() picloud.Node                                                { panic("stub") }
func (s *Store) Health() Health                                                    { panic("stub") }
func (s *Store) Apps() []picloud.App                                               { panic("stub") }
func (s *Store) App(name string) (picloud.App, error)                              { panic("stub") }
func (s *Store) CreateApp(ctx context.Context, a picloud.App) (picloud.App, error) { panic("stub") }
func (s *Store) UpdateApp(ctx context.Context, name string, p picloud.AppPatch) (picloud.App, error) {
	panic("stub")
}
func (s *Store) DeleteApp(ctx context.Context, name string) error { panic("stub") }
func (s *Store) Topics(app string) ([]picloud.Topic, error)       { panic("stub") }
func (s *Store) Topic(app, name string) (picloud.Topic, error)    { panic("stub") }
func (s *Store) CreateTopic(ctx context.Context, t picloud.Topic) (picloud.Topic, error) {
	panic("stub")
}
func (s *Store) UpdateTopic(ctx context.Context, app, name string, p picloud.TopicPatch) (picloud.Topic, error) {
	panic("stub")
}
func (s *Store) SetExternal(ctx context.Context, app, name string, external bool) (picloud.Topic, error) {
	panic("stub")
}
func (s *Store) DeleteTopic(ctx context.Context, app, name string) error { panic("stub") }
func (s *Store) APIKeys() []picloud.APIKey                               { panic("stub") }
func (s *Store) APIKey(id string) (picloud.APIKey, bool)                 { panic("stub") }
func (s *Store) CreateAPIKey(ctx context.Context, k picloud.APIKey) (picloud.APIKey, error) {
	panic("stub")
}
func (s *Store) RevokeAPIKey(ctx context.Context, id string) error { panic("stub") }
func (s *Store) TouchAPIKey(id string, at time.Time)               { panic("stub") }
func (s *Store) SigningKeys(app string) []picloud.SigningKey       { panic("stub") }
func (s *Store) EnsureSigningKey(ctx context.Context, app string) (picloud.SigningKey, error) {
	panic("stub")
}
func (s *Store) RotateSigningKey(ctx context.Context, app string, overlap time.Duration) (picloud.SigningKey, error) {
	panic("stub")
}
func (s *Store) Publish(ctx context.Context, p picloud.Publication) ([]picloud.Event, error) {
	panic("stub")
}
func (s *Store) Head(app string) (picloud.Position, error) { panic("stub") }
func (s *Store) Event(ctx context.Context, app string, pos picloud.Position) (picloud.Event, error) {
	panic("stub")
}
func (s *Store) Events(ctx context.Context, q picloud.HistoryQuery) (picloud.HistoryPage, error) {
	panic("stub")
}
func (s *Store) CheckPosition(app string, topics []string, pos picloud.Position) error {
	panic("stub")
}
func (s *Store) Before(ctx context.Context, app string, topics []string, t time.Time) (uint64, error) {
	panic("stub")
}
func (s *Store) Latest(ctx context.Context, app string, topics []string) ([]picloud.Event, error) {
	panic("stub")
}
func (s *Store) Stats() Stats                                  { panic("stub") }
func (s *Store) Backup(ctx context.Context, w io.Writer) error { panic("stub") }
func Restore(dir string, r io.Reader) (picloud.Node, error)    { panic("stub") }
func (s *Store) LastMove() time.Time                           { panic("stub") }
