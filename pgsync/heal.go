package pgsync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// Mended is what a node tells of its losses, and takes back of them; *store.Store
// implements it.
type Mended interface {
	// Things calls fn with everything that is copied, and its version, until fn returns false.
	Things(fn func(kind picloud.ChangeKind, app, name string, version uint64) bool) error
	VersionOf(kind picloud.ChangeKind, app, name string) (version uint64, there bool)
	// Thing returns what puts a thing as it is now; nil: there is none.
	Thing(kind picloud.ChangeKind, app, name string) (*picloud.Change, error)
	// ChangedAfter calls fn with each thing that has changed after an LSN.
	ChangedAfter(ctx context.Context, lsn uint64, fn func(kind picloud.ChangeKind, app, name string, deleted bool)) error
	// TellLoss tells people of a loss of records, of which the copy may have what follows from
	// them.
	TellLoss(text string)
	// MissingRows lists the incidents for which RowsHealed was not called yet.
	MissingRows() (incidents []string)
	// Heal takes things back, unless their versions are others than these by now, or their
	// apps were made after the record since.
	Heal(ctx context.Context, since uint64, things []picloud.Change, versions []uint64) (healed int, refused, err error)
	RestoredOnPurpose() bool
	RowsHealed(ctx context.Context, what string, incidents []string) error
	DamagedContents() []picloud.File
	HealContent(ctx context.Context, f picloud.File, from io.Reader) (healed bool, err error)
}

// mendTimeout bounds a comparison, and what is brought back at a time.
const mendTimeout = 10 * time.Minute

// healEvery is how long a node waits before it looks again for what it did not find.
const healEvery = time.Minute

// heal brings back what the node has lost or found damaged and the copy has whole.
func (s *Sync) heal(ctx context.Context) error {
	incidents, damaged := s.cfg.Local.MissingRows(), s.cfg.Local.DamagedContents()
	if len(incidents)+len(damaged) == 0 || time.Since(s.looked) < healEvery {
		return nil
	}
	s.looked = time.Now()
	if len(incidents) > 0 {
		if err := s.healRows(ctx, incidents); err != nil {
			return s.unlessOpen(fmt.Errorf("bring rows back from the copy: %w", err))
		}
		damaged = s.cfg.Local.DamagedContents() // those of files that came back are among them
	}
	for i := range damaged {
		if err := s.healContent(ctx, &damaged[i]); err != nil {
			return s.unlessOpen(fmt.Errorf("bring a content back from the copy: %w", err))
		}
	}
	return nil
}

// unlessOpen returns an error that has ended the connection. Others are told, and hold up
// no copying.
func (s *Sync) unlessOpen(err error) error {
	if s.conn.IsClosed() {
		return err
	}
	s.log.Warn("the copy mends nothing now", slog.Any("err", err))
	return nil
}

// healRows brings back all rows that the copy has and the node has lost, maxDifferent at a
// time.
func (s *Sync) healRows(ctx context.Context, incidents []string) error {
	b := bringBack{s: s}
	for more := true; more; {
		healed := b.healed
		var err error
		if more, err = b.round(ctx); err != nil {
			return err
		}
		s.log.Info("the copy was asked for what was lost", slog.Int("lost", b.lost), slog.Int("healed", b.healed), slog.Any("refused", b.refused))
		more = more && b.healed > healed // those that are refused are found again
	}
	return s.cfg.Local.RowsHealed(ctx, b.text(), incidents)
}

// bringBack hands things of the copy to the node, some at a time.
type bringBack struct {
	s       *Sync
	since   uint64 // newest record before the comparison
	wanted  map[thing]uint64
	lost    int // things that were wanted, of all rounds
	page    []picloud.Change
	here    []uint64 // versions
	size    int
	healed  int
	first   string // that was healed
	refused error
}

// What is handed over in one commit.
const (
	healAtOnce      = 100
	healBytesAtOnce = 256 << 10
)

// round brings back what a comparison finds. It reports whether there is more.
func (b *bringBack) round(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, mendTimeout)
	defer cancel()
	tx, err := b.s.snapshot(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback(ctx) }() // nothing was written
	b.since = b.s.cfg.Local.LastLSN()
	d, err := b.s.compare(ctx, tx)
	if err != nil || len(d.lost) == 0 {
		return false, err
	}
	b.wanted = d.lost
	b.lost += len(d.lost)
	src := Source{ID: b.s.cfg.Local.Node().ID, tx: tx, sync: b.s, only: b.names()}
	if err := src.things(ctx, func(c picloud.Change) error { return b.take(ctx, c) }); err != nil {
		return false, err
	}
	return d.more, b.flush(ctx)
}

// names are the names in the copy of what is wanted, each with its app.
func (b *bringBack) names() *picked {
	var p picked
	for t := range b.wanted {
		p.apps, p.names = append(p.apps, t.app), append(p.names, nameOf(t))
	}
	return &p
}

func (b *bringBack) take(ctx context.Context, c picloud.Change) error {
	here, wanted := b.wanted[thing{c.Kind, c.App, c.Name}]
	if !wanted { // of another kind
		return nil
	}
	if b.page, b.here = append(b.page, c), append(b.here, here); len(b.page) < healAtOnce {
		if b.size += sizeOf(c.Value); b.size < healBytesAtOnce {
			return nil
		}
	}
	return b.flush(ctx)
}

func sizeOf(value any) int {
	switch v := value.(type) {
	case picloud.Entry:
		return len(v.Value)
	case picloud.Document:
		return len(v.Body)
	}
	return 0
}

func (b *bringBack) flush(ctx context.Context) error {
	if len(b.page) == 0 {
		return nil
	}
	n, refused, err := b.s.cfg.Local.Heal(ctx, b.since, b.page, b.here)
	if err != nil {
		return err
	}
	if c := b.page[0]; n > 0 && b.first == "" {
		b.first = thing{c.Kind, c.App, c.Name}.String()
	}
	b.healed += n
	if b.refused == nil {
		b.refused = refused
	}
	b.page, b.here, b.size = nil, nil, 0
	return nil
}

// text tells people what came back.
func (b *bringBack) text() string {
	if b.lost == 0 {
		return "The copy in Postgres has nothing that is not here."
	}
	text := fmt.Sprintf("Of %d things that the copy in Postgres had, %d came back from there, such as %s.", b.lost, b.healed, b.first)
	if b.first == "" {
		text = fmt.Sprintf("Of %d things that the copy in Postgres had, none came back from there.", b.lost)
	}
	if b.refused != nil {
		text += fmt.Sprintf(" Others were refused, such as %v.", firstLine(b.refused))
	}
	return text
}

func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// healContent brings back the content of a file, if the copy has all of it.
func (s *Sync) healContent(ctx context.Context, f *picloud.File) error {
	var size int64
	err := s.conn.QueryRow(ctx, s.q("SELECT coalesce(sum(length(bytes)), 0)::bigint FROM @file_parts WHERE node_id = $1 AND content = $2"), s.cfg.Local.Node().ID, f.Blob).Scan(&size)
	if err != nil || size != f.Size {
		return classify("look for the content of a file", err)
	}
	r := partReader{s: s, ctx: ctx, content: f.Blob}
	healed, err := s.cfg.Local.HealContent(ctx, *f, &r)
	switch {
	case r.err != nil:
		return r.err
	case err != nil:
		return err
	case !healed:
		s.log.Warn("the copy has another content of a file than was written", slog.String("app", f.App), slog.String("file", f.Path))
	}
	return nil
}

// partReader reads a content of the copy, part by part.
type partReader struct {
	s       *Sync
	ctx     context.Context //nolint:containedctx // of the one call that reads
	content string
	part    int
	rest    []byte
	err     error // of the database
}

// Read implements io.Reader.
func (r *partReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		err := r.s.conn.QueryRow(r.ctx, r.s.q("SELECT bytes FROM @file_parts WHERE node_id = $1 AND content = $2 AND part = $3"), r.s.cfg.Local.Node().ID, r.content, r.part).Scan(&r.rest)
		if errors.Is(err, pgx.ErrNoRows) {
			return 0, io.EOF
		}
		if err != nil {
			r.err = classify("read the content of a file", err)
			return 0, r.err
		}
		r.part++
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
