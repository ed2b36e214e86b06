package pgsync

import (
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// collected is a batch, sorted by where it goes. Of several changes of one
// thing the last one counts: they become visible together.
type collected struct {
	events  []picloud.Record
	stamped []picloud.Record // events whose clock could not be believed
	last    map[thing]picloud.Record
	order   []thing
	purges  []picloud.Record // deletions that take events with them
	dropped uint64           // records that were given up
}

type thing struct {
	kind      picloud.ChangeKind
	app, name string
}

func collect(batch []picloud.Record) *collected {
	c := &collected{last: map[thing]picloud.Record{}}
	for _, r := range batch {
		if r.Event != nil {
			if r.Event.Stamp == nil {
				c.events = append(c.events, r)
			} else {
				c.stamped = append(c.stamped, r)
			}
			continue
		}
		ch := r.Change
		if ch.Kind == picloud.ChangeDropped {
			n, _ := ch.Value.(uint64)
			c.dropped += n
			continue
		}
		t := thing{ch.Kind, ch.App, ch.Name}
		if _, known := c.last[t]; !known {
			c.order = append(c.order, t)
		}
		c.last[t] = r
		if ch.Value == nil && (ch.Kind == picloud.ChangeApp || ch.Kind == picloud.ChangeTopic) {
			c.purges = append(c.purges, r)
		}
	}
	return c
}

// changes lists what things are after the batch.
func (c *collected) changes() []*picloud.Change {
	list := make([]*picloud.Change, len(c.order))
	for i, t := range c.order {
		list[i] = c.last[t].Change
	}
	return list
}

// queueRows brings the tables of things to what they are after the batch.
// Things are few and change seldom: a statement for each is soon enough, and
// all travel together.
func (s *Sync) queueRows(b *pgx.Batch, c *collected) {
	node := s.cfg.Local.Node().ID
	for _, r := range c.purges {
		if r.Change.Kind == picloud.ChangeApp {
			s.queueForgetApp(b, node, r.Change.App)
		}
	}
	for _, t := range c.order {
		r := c.last[t]
		s.queueTaken(b, t)
		if r.Change.Value == nil {
			s.queueDelete(b, node, t)
		} else {
			s.queuePut(b, node, &r)
		}
	}
	if c.dropped > 0 {
		b.Queue(s.q("UPDATE @nodes SET lost = lost + $2 WHERE id = $1"), node, int64(c.dropped)) // #nosec G115 -- counts records
	}
	for _, r := range c.purges {
		var topic *string
		if r.Change.Kind == picloud.ChangeTopic {
			topic = &r.Change.Name
		}
		s.queuePurged(b, r.Change.App, topic)
		b.Queue(s.q("INSERT INTO @purges (node_id, app, topic, lsn) VALUES ($1, $2, $3, $4)"), node, r.Change.App, topic, int64(r.LSN)) // #nosec G115 -- counts records
	}
}

// queueForgetApp removes all that there is of an app that was deleted. The node tells of
// each thing that it has; what its card has lost it cannot tell of, and that must not be
// the next app's of the name.
func (s *Sync) queueForgetApp(b *pgx.Batch, node, app string) {
	b.Queue(s.q("DELETE FROM @file_parts p USING @files f WHERE f.node_id = $1 AND f.app = $2 AND (p.node_id, p.content) = (f.node_id, f.content)"), node, app)
	for _, table := range []string{"topics", "api_keys", "app_secrets", "kv", "documents", "files", "definitions"} {
		b.Queue(s.q("DELETE FROM @"+table+" WHERE node_id = $1 AND app = $2"), node, app)
	}
	if s.aside {
		b.Queue(s.q("DELETE FROM @set_aside WHERE node_id = $1 AND app = $2"), node, app)
	}
}

func (s *Sync) queueDelete(b *pgx.Batch, node string, t thing) {
	switch t.kind {
	case picloud.ChangeApp:
		b.Queue(s.q("DELETE FROM @apps WHERE node_id = $1 AND name = $2"), node, t.app)
	case picloud.ChangeTopic:
		b.Queue(s.q("DELETE FROM @topics WHERE node_id = $1 AND app = $2 AND name = $3"), node, t.app, t.name)
	case picloud.ChangeAPIKey:
		b.Queue(s.q("DELETE FROM @api_keys WHERE node_id = $1 AND id = $2"), node, t.name)
	case picloud.ChangeKV:
		b.Queue(s.q("DELETE FROM @kv WHERE node_id = $1 AND app = $2 AND key = $3"), node, t.app, t.name)
	case picloud.ChangeFile:
		s.queueForget(b, node, t.app, t.name, "")
		b.Queue(s.q("DELETE FROM @files WHERE node_id = $1 AND app = $2 AND path = $3"), node, t.app, t.name)
	case picloud.ChangeDocument:
		collection, id, _ := strings.Cut(t.name, "\x00")
		b.Queue(s.q("DELETE FROM @documents WHERE node_id = $1 AND app = $2 AND collection = $3 AND id = $4"), node, t.app, collection, id)
	case picloud.ChangeDropped: // never gone
	case picloud.ChangeClock: // the time stays unknown: the events stay as they are
	case picloud.ChangeSigningKey:
		b.Queue(s.q("DELETE FROM @app_secrets WHERE node_id = $1 AND app = $2 AND key_id = $3"), node, t.app, t.name)
	default:
		b.Queue(s.q("DELETE FROM @definitions WHERE node_id = $1 AND app = $2 AND kind = $3 AND name = $4"), node, t.app, string(t.kind), t.name)
	}
}

func (s *Sync) queuePut(b *pgx.Batch, node string, r *picloud.Record) {
	switch v := r.Change.Value.(type) {
	case picloud.App:
		origins := make([]string, len(v.AllowedOrigins))
		for i, o := range v.AllowedOrigins {
			origins[i] = plain(o)
		}
		b.Queue(s.q(`INSERT INTO @apps (node_id, name, description, allowed_origins, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (node_id, name) DO UPDATE SET description = excluded.description, allowed_origins = excluded.allowed_origins,
			created_at = excluded.created_at, updated_at = excluded.updated_at`),
			node, v.Name, plain(v.Description), origins, v.CreatedAt, v.UpdatedAt)
	case picloud.Topic:
		b.Queue(s.q(`INSERT INTO @topics (node_id, app, name, description, external, auth_mode, durability, max_events, max_age_sec, max_bytes, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
			ON CONFLICT (node_id, app, name) DO UPDATE SET description = excluded.description, external = excluded.external, auth_mode = excluded.auth_mode,
			durability = excluded.durability, max_events = excluded.max_events, max_age_sec = excluded.max_age_sec, max_bytes = excluded.max_bytes,
			created_at = excluded.created_at, updated_at = excluded.updated_at`),
			node, v.App, v.Name, plain(v.Description), v.External, string(v.AuthMode), string(v.Durability),
			v.Retention.MaxEvents, int64(v.Retention.MaxAge/time.Second), v.Retention.MaxBytes, v.CreatedAt, v.UpdatedAt)
	case picloud.APIKey:
		scopes := make([]string, len(v.Scopes))
		for i, sc := range v.Scopes {
			scopes[i] = string(sc)
		}
		var app *string
		if v.App != "" {
			app = &v.App
		}
		b.Queue(s.q(`INSERT INTO @api_keys (node_id, id, label, app, scopes, hash, created_at, expires_at, last_used_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (node_id, id) DO UPDATE SET label = excluded.label, app = excluded.app, scopes = excluded.scopes, hash = excluded.hash,
			created_at = excluded.created_at, expires_at = excluded.expires_at, last_used_at = excluded.last_used_at`),
			node, v.ID, plain(v.Label), app, scopes, v.Hash[:], v.CreatedAt, orNull(v.ExpiresAt), orNull(v.LastUsedAt))
	case picloud.SigningKey:
		s.queueSigningKey(b, node, &v)
	case picloud.Entry:
		s.queueEntry(b, node, &v)
	case picloud.File:
		s.queueFile(b, node, &v)
	case picloud.Document:
		text := asJSON(v.Body)
		b.Queue(s.q(`INSERT INTO @documents (node_id, app, collection, id, body, exact, version, created_at, updated_at) VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7, $8, $9)
			ON CONFLICT (node_id, app, collection, id) DO UPDATE SET body = excluded.body, exact = excluded.exact, version = excluded.version,
			created_at = excluded.created_at, updated_at = excluded.updated_at`),
			node, v.App, v.Collection, v.ID, text.jsonb, text.exact, int64(v.Version), v.CreatedAt, v.UpdatedAt) // #nosec G115 -- microseconds since 1970
	case time.Time:
		b.Queue(s.q(`UPDATE @events SET published_at = published_at + ($3 - board_started_at), clock = 'corrected'
			WHERE node_id = $1 AND clock = 'unsynced' AND boot = $2`), node, r.Change.Name, v)
	default:
		s.queueDefinition(b, node, r.Change)
	}
}

// queueSigningKey inserts a key unless it is there. One that was made by a
// rotation ends, when it comes, all keys of the app that are there, whichever
// node made them and whatever their clocks say.
func (s *Sync) queueSigningKey(b *pgx.Batch, node string, k *picloud.SigningKey) {
	b.Queue(s.q(`WITH fresh AS (
			INSERT INTO @app_secrets (app, key_id, node_id, secret, created_at, retires_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (app, key_id) DO NOTHING RETURNING key_id)
		UPDATE @app_secrets SET retires_at = LEAST(retires_at, $7) WHERE app = $1 AND $7::timestamptz IS NOT NULL AND EXISTS (SELECT FROM fresh)`),
		k.App, k.ID, node, k.Secret[:], k.CreatedAt, orNull(k.RetiresAt), orNull(k.EndsOlder))
	if !k.RetiresAt.IsZero() {
		b.Queue(s.q("UPDATE @app_secrets SET retires_at = LEAST(retires_at, $3) WHERE app = $1 AND key_id = $2"), k.App, k.ID, k.RetiresAt)
	}
}

func (s *Sync) queueEntry(b *pgx.Batch, node string, e *picloud.Entry) {
	var value jsonText
	var raw []byte
	if e.Binary {
		raw = append([]byte{}, e.Value...) // never NULL
	} else {
		value = asJSON(e.Value)
	}
	b.Queue(s.q(`INSERT INTO @kv (node_id, app, key, value, exact, bytes, version, updated_at, expires_at) VALUES ($1, $2, $3, $4::text::jsonb, $5, $6, $7, $8, $9)
		ON CONFLICT (node_id, app, key) DO UPDATE SET value = excluded.value, exact = excluded.exact, bytes = excluded.bytes, version = excluded.version,
		updated_at = excluded.updated_at, expires_at = excluded.expires_at`),
		node, e.App, e.Key, value.jsonb, value.exact, raw, int64(e.Version), e.UpdatedAt, orNull(e.ExpiresAt)) // #nosec G115 -- microseconds since 1970
}

// queueDefinition keeps a thing as JSON: kinds without a table of their own.
func (s *Sync) queueDefinition(b *pgx.Batch, node string, c *picloud.Change) {
	body, err := picloud.EncodeJSON(c.Value) // what is JSON in it stays as it is
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", c.Value, err)) // none of them can fail
	}
	text := asJSON(body)
	b.Queue(s.q(`INSERT INTO @definitions (node_id, app, kind, name, body, exact) VALUES ($1, $2, $3, $4, $5::text::jsonb, $6)
		ON CONFLICT (node_id, app, kind, name) DO UPDATE SET body = excluded.body, exact = excluded.exact`), node, c.App, string(c.Kind), plain(c.Name), text.jsonb, text.exact)
}

// orNull is t, or NULL for a time that never is.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
