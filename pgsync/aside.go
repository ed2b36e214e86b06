package pgsync

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// What the tables do not take, because of a constraint or a trigger that was added to
// them, lies in set_aside with all of its content. Of an event that is one row. Of a
// thing it is what holds, until the table takes a later version of the thing: restoring
// prefers it.

// SetAside keeps a record that the tables do not take where a person, and a restore,
// finds it.
func (s *Sync) SetAside(ctx context.Context, r picloud.Record, reason error) error {
	return s.setAside(ctx, &r, r.LSN, reason)
}

// setAside sets a record aside and moves the position to upTo.
func (s *Sync) setAside(ctx context.Context, r *picloud.Record, upTo uint64, reason error) error {
	a, err := asideOf(r)
	if err != nil {
		return err
	}
	node := s.cfg.Local.Node()
	err = s.write(ctx, "set a record aside", upTo, func(b *pgx.Batch) {
		if r.Change != nil {
			s.queueTaken(b, thing{r.Change.Kind, r.Change.App, r.Change.Name})
		}
		b.Queue(s.q(`INSERT INTO @set_aside (node_id, epoch, lsn, kind, app, name, reason, body, content, seq, source, published_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`),
			node.ID, node.Epoch.String(), int64(r.LSN), a.kind, plain(a.app), a.name, plain(reason.Error()), a.body, a.content, a.seq, a.source, a.published) // #nosec G115 -- counts records
	})
	if isPermanent(err) {
		return fmt.Errorf("%s %q of app %q can neither be copied nor set aside: %w", a.kind, a.name, a.app, errors.Unwrap(err)) // waits for a person
	}
	if err == nil {
		s.aside = true
	}
	return err
}

// aside is a row of set_aside.
type aside struct {
	kind, app, name string
	body            []byte
	content         *string
	seq             *int64
	source          *string
	published       *time.Time
}

func asideOf(r *picloud.Record) (a aside, err error) {
	if e := r.Event; e != nil {
		n, source := int64(e.Seq), plain(e.Source) // #nosec G115 -- counts events
		return aside{kind: asideEvent, app: e.App, name: plain(e.Topic), body: e.Data, seq: &n, source: &source, published: &e.PublishedAt}, nil
	}
	c := r.Change
	a = aside{kind: string(c.Kind), app: c.App, name: nameOf(thing{c.Kind, c.App, c.Name})}
	if f, ok := c.Value.(picloud.File); ok {
		a.content = &f.Blob
	}
	if a.body, err = picloud.EncodeJSON(c.Value); err != nil {
		return a, fmt.Errorf("set %s %q of app %q aside: %w", a.kind, a.name, a.app, err)
	}
	return a, nil
}

// asideEvent is the kind of an event in set_aside.
const asideEvent = "event"

// nameOf is what a thing is called in set_aside. The name of a document has a zero byte
// between the collection, in which there is no slash, and the id.
func nameOf(t thing) string {
	if t.kind == picloud.ChangeDocument {
		return plain(strings.Replace(t.name, "\x00", "/", 1))
	}
	return plain(t.name)
}

// localName is the name of a thing that nameOf calls name.
func localName(kind picloud.ChangeKind, name string) string {
	if kind == picloud.ChangeDocument {
		return strings.Replace(name, "/", "\x00", 1)
	}
	return name
}

// queueTaken removes what was set aside of a thing, now that something later of it is
// kept.
func (s *Sync) queueTaken(b *pgx.Batch, t thing) {
	if s.aside {
		b.Queue(s.q("DELETE FROM @set_aside WHERE node_id = $1 AND kind = $2 AND app = $3 AND name = $4"), s.cfg.Local.Node().ID, string(t.kind), t.app, nameOf(t))
	}
}

// queuePurged removes the events of a topic that were set aside, or of all topics of an
// app.
func (s *Sync) queuePurged(b *pgx.Batch, app string, topic *string) {
	if s.aside {
		b.Queue(s.q("DELETE FROM @set_aside WHERE node_id = $1 AND kind = $2 AND app = $3 AND ($4::text IS NULL OR name = $4)"), s.cfg.Local.Node().ID, asideEvent, app, topic)
	}
}

// isPermanent reports whether an error is of one record, and trying again will not mend
// it.
func isPermanent(err error) bool {
	_, ok := errors.AsType[*permanentError](err)
	return ok
}

// plain makes a text one that any database takes.
func plain(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	return strings.ReplaceAll(s, "\x00", "\ufffd")
}

// What restoring needs to know of set_aside: which rows of a table are older than what
// was set aside of the same thing, and which apps there are.
const (
	// holds is a condition of rows of set_aside that have all of a thing.
	holds = "s.node_id = $1 AND s.body <> ''"
	// ofApps lists the apps of a node.
	ofApps = "(SELECT a.name FROM @apps a WHERE a.node_id = $1 AND NOT EXISTS (SELECT FROM @set_aside s WHERE " + holds + " AND s.kind = 'app' AND s.name = a.name)" +
		" UNION SELECT s.name FROM @set_aside s WHERE " + holds + " AND s.kind = 'app' AND s.body <> 'null')"
)

// unlessAside is a condition of rows of a table of which nothing later was set aside.
// Its arguments are SQL.
func unlessAside(kind, app, name string) string {
	return fmt.Sprintf(" AND NOT EXISTS (SELECT FROM @set_aside s WHERE %s AND s.kind = %s AND s.app = %s AND s.name = %s)", holds, kind, app, name)
}

// asideApps puts the apps that were set aside.
func (src *Source) asideApps(ctx context.Context, put putChange) error {
	return src.asides(ctx, "s.kind = 'app'", put)
}

// asideThings puts the other things that were set aside.
func (src *Source) asideThings(ctx context.Context, put putChange) error {
	return src.asides(ctx, "s.kind <> 'app' AND (s.app = '' OR s.app IN "+ofApps+")", put)
}

func (src *Source) asides(ctx context.Context, which string, put putChange) error {
	var kind, app, name string
	var body []byte
	return src.each(ctx, "SELECT s.kind, s.app, s.name, s.body FROM @set_aside s WHERE "+holds+" AND s.kind <> 'event' AND s.body <> 'null' AND "+which+src.only.sql("s.app", "s.name")+" ORDER BY s.id",
		[]any{&kind, &app, &name, &body}, func() error {
			k := picloud.ChangeKind(kind)
			return put(picloud.Change{Kind: k, App: app, Name: localName(k, name), Value: json.RawMessage(bytes.Clone(body))})
		})
}
