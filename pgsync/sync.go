package pgsync

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// Local is what a Sync needs of its own node; *store.Store implements it.
type Local interface {
	Node() picloud.Node
	RecoveryKey() []byte
	SharedUpTo(epoch string, lsn uint64) uint64
	LastLSN() uint64
	RecordsAfter(lsn uint64) uint64
	Data(after string) (page []picloud.Change, next string, err error)
	OpenContent(f picloud.File) (io.ReadSeekCloser, error)
	Note(name string) []byte
	SetNote(ctx context.Context, name string, value []byte) error
	ShareKeys(ctx context.Context, keys []picloud.SigningKey, own map[string]bool) error
	Mended
}

// Config configures a Sync. Zero values mean the defaults.
type Config struct {
	// URL returns the connection string, as libpq reads it. It is asked again
	// for every connection, so that a password that was changed is taken up.
	URL     func() (string, error)
	Schema  string // default "picloud"
	Local   Local
	Place   string // names the board and the data directory; two nodes at one place are one
	Version string // of picloud, for the fleet view
	Migrate bool   // bring the schema up to date when that is needed
	Notify  bool   // tell other nodes when events have been copied

	OmitContents bool // of files

	Health  func() string // for the fleet view; nil: "ok"
	Timeout time.Duration // of a statement, and of connecting; default 30 s
	Lease   time.Duration // how long a session counts as alive that was not seen; default 45 s
	Logger  *slog.Logger  // nil: discard
	Now     func() time.Time

	// DirectURL returns a connection string by which notifications come, as URL does
	// where there is no pooler; nil or empty: there is none.
	DirectURL func() (string, error)

	pooled *atomic.Bool // there is a pooler before Postgres: it has been met
}

// DefaultSchema is where the tables are unless configured.
const DefaultSchema = "picloud"

func (c Config) withDefaults() Config {
	if c.Schema == "" {
		c.Schema = DefaultSchema
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Lease == 0 {
		c.Lease = 45 * time.Second
	}
	if c.Health == nil {
		c.Health = func() string { return "ok" }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.pooled == nil {
		c.pooled = new(atomic.Bool)
	}
	return c
}

// Sync copies one node. It is a consumer of package dispatch: its methods are
// called by one goroutine.
type Sync struct {
	cfg     Config
	log     *slog.Logger
	session string // of this process
	prefix  string // the schema and a dot, quoted

	conn       *pgx.Conn // nil: none
	lsn        uint64    // the position, as the database has it
	maintained time.Time
	aside      bool        // something was set aside
	asked      chan asking // those who wait for a comparison
	looked     time.Time   // when the copy was last asked for what was lost

	mu       sync.Mutex    // guards what follows
	imported chan struct{} // closed when signing keys are imported
}

// New returns a Sync. It connects when it is told to begin.
func New(cfg Config) *Sync {
	cfg = cfg.withDefaults()
	var b [8]byte
	_, _ = rand.Read(b[:]) // documented never to fail
	return &Sync{
		cfg: cfg, log: cfg.Logger.With(slog.String("component", "pgsync")),
		session: hex.EncodeToString(b[:]), prefix: pgx.Identifier{cfg.Schema}.Sanitize() + ".",
		imported: make(chan struct{}), asked: make(chan asking, 1),
	}
}

// Begin connects, brings the schema up to date, claims the node, and returns
// where it stands.
func (s *Sync) Begin(ctx context.Context) (st picloud.Standing, err error) {
	s.drop()       //nolint:contextcheck // has its own, short patience
	defer func() { //nolint:contextcheck // as above
		if err != nil {
			s.drop()
		}
	}()
	if err := s.begin(ctx); err != nil {
		return picloud.Standing{}, err
	}
	s.looked = time.Time{}
	if err := s.mend(ctx); err != nil {
		return picloud.Standing{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if err := s.importKeys(ctx); err != nil {
		return picloud.Standing{}, err
	}
	s.log.Info("connected to Postgres", slog.Uint64("lsn", s.lsn))
	return s.standing(ctx)
}

// begin connects and claims the node.
func (s *Sync) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	conn, err := connect(ctx, &s.cfg)
	if err != nil {
		return err
	}
	s.conn = conn
	if err := s.schema(ctx); err != nil {
		return err
	}
	return s.claim(ctx)
}

func (s *Sync) standing(ctx context.Context) (picloud.Standing, error) {
	st := picloud.Standing{Done: s.lsn}
	node := s.cfg.Local.Node().ID
	var aside, lost int64
	err := s.conn.QueryRow(ctx, s.q("SELECT (SELECT count(*) FROM @set_aside WHERE node_id = $1), lost FROM @nodes WHERE id = $1"), node).Scan(&aside, &lost)
	s.aside = aside > 0
	st.SetAside, st.Lost = uint64(aside), uint64(lost) // #nosec G115 -- counts
	if err == nil && s.aside {
		var rows pgx.Rows
		rows, err = s.conn.Query(ctx, s.q("SELECT kind, app, name, reason FROM @set_aside WHERE node_id = $1 ORDER BY id DESC LIMIT $2"), node, picloud.MaxRefused)
		if err == nil {
			st.Refused, err = pgx.CollectRows(rows, pgx.RowToStructByPos[picloud.Refused])
		}
	}
	return st, classify("see where the node stands", err)
}

// schema makes sure that the tables are those this version writes to.
func (s *Sync) schema(ctx context.Context) error {
	m := migrator{conn: s.conn, schema: s.cfg.Schema}
	st, err := m.status(ctx)
	if err != nil {
		return err
	}
	if s.cfg.Migrate && st.Pending() {
		if st, err = m.up(ctx, s.log); err != nil {
			return err
		}
	}
	return st.Usable()
}

// Tick tells the fleet that the node lives, and keeps the tables in shape.
func (s *Sync) Tick(ctx context.Context, waiting uint64) error {
	if err := s.tick(ctx, waiting); err != nil {
		return err
	}
	if err := s.mend(ctx); err != nil {
		return err
	}
	return s.answer(ctx)
}

// mend brings back what the node misses, and copies anew what the copy does.
func (s *Sync) mend(ctx context.Context) error {
	if err := s.heal(ctx); err != nil {
		return err
	}
	return s.mendCopy(ctx)
}

func (s *Sync) tick(ctx context.Context, waiting uint64) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	tag, err := s.conn.Exec(ctx, s.q("UPDATE @nodes SET last_seen = now(), backlog = $3, health = $4 WHERE id = $1 AND session = $2"), s.cfg.Local.Node().ID, s.session, int64(waiting), s.cfg.Health())
	if err != nil {
		return classify("say that the node lives", err)
	}
	if tag.RowsAffected() == 0 {
		return errTaken
	}
	if err := s.importKeys(ctx); err != nil {
		return err
	}
	return s.maintain(ctx)
}

// maintainEvery is how often each node offers to keep the tables in shape.
const maintainEvery = time.Hour

func (s *Sync) maintain(ctx context.Context) error {
	now := s.cfg.Now()
	if now.Sub(s.maintained).Abs() < maintainEvery {
		return nil
	}
	if err := s.forgetContents(ctx); err != nil {
		return err
	}
	var left int64
	if err := s.conn.QueryRow(ctx, s.q("SELECT @maintain()")).Scan(&left); err != nil {
		return classify("maintain the tables", err)
	}
	if left == 0 { // else goes on with the next tick
		s.maintained = now
	}
	return nil
}

// End says goodbye, so that the node can go on elsewhere at once.
func (s *Sync) End() {
	if s.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _ = s.conn.Exec(ctx, s.q("UPDATE @nodes SET session_open = false WHERE id = $1 AND session = $2"), s.cfg.Local.Node().ID, s.session) // else the lease runs out
	}
	s.drop()
}

// drop closes the connection without waiting for a server that may be gone.
func (s *Sync) drop() {
	s.refuse()
	if s.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.conn.Close(ctx) // it may be what has failed
		s.conn = nil
	}
}

// q fills the schema into a statement, where it says @: nothing depends on the
// search path, which a pooler between may not keep.
func (s *Sync) q(sql string) string { return strings.ReplaceAll(sql, "@", s.prefix) }
