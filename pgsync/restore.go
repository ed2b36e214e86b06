package pgsync

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// Source is a node in the database that is about to be restored. While it is
// open the node is locked: its old card can copy nothing more.
type Source struct {
	ID          string
	Name        string
	Incarnation uint64    // the one that the restored node has
	LastSeen    time.Time // of the old card
	Backlog     uint64    // records that had not been copied then: lost with the card
	Lost        uint64    // records that its journal had dropped before they were copied
	SetAside    uint64    // things that a version before set aside without their content
	Events      uint64    // that will be restored

	conn   *pgx.Conn
	tx     pgx.Tx
	sync   *Sync
	limits picloud.Retention
	only   *picked // nil: all things
}

// picked are things of any kind by their names in the copy, each with its app.
type picked struct{ apps, names []string }

// sql is a condition of rows of which only those are wanted. Its arguments are SQL.
func (p *picked) sql(app, name string) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf(" AND (%s, %s) IN (SELECT * FROM unnest($2::text[], $3::text[]))", app, name)
}

// ErrRecoveryKey says that the recovery key is not that of the node.
var ErrRecoveryKey = errors.New("the recovery key does not fit this node; 'picloud recovery-key' showed it while the node lived")

// OpenSource finds a node by its id or its name and proves with its recovery key
// that it may be restored. Retention says what the history of topics without
// limits of their own is.
func OpenSource(ctx context.Context, cfg Config, name string, recoveryKey []byte, retention picloud.Retention) (*Source, error) {
	s := New(cfg)
	conn, err := connect(ctx, &s.cfg)
	if err != nil {
		return nil, err
	}
	src := &Source{conn: conn, sync: s, limits: retention}
	if err := src.open(ctx, name, recoveryKey); err != nil {
		src.Close(ctx)
		return nil, err
	}
	return src, nil
}

// Close lets go of the node. Without HandOver before, nothing has changed.
func (src *Source) Close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = src.conn.Close(ctx) // rolls back what is not committed
}

func (src *Source) open(ctx context.Context, name string, recoveryKey []byte) error {
	m := migrator{conn: src.conn, schema: src.sync.cfg.Schema}
	st, err := m.status(ctx)
	if err == nil {
		err = st.Usable()
	}
	if err != nil {
		return err
	}
	if src.tx, err = src.conn.Begin(ctx); err != nil {
		return classify("begin to restore", err)
	}
	if _, err := src.tx.Exec(ctx, "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0", pgx.QueryExecModeSimpleProtocol); err != nil {
		return classify("prepare to restore", err)
	}
	if err := src.find(ctx, name); err != nil {
		return err
	}
	var incarnation, backlog, lost int64
	var want []byte
	err = src.tx.QueryRow(ctx, src.sync.q("SELECT name, incarnation, recovery, backlog, lost, last_seen FROM @nodes WHERE id = $1 FOR UPDATE"), src.ID).
		Scan(&src.Name, &incarnation, &want, &backlog, &lost, &src.LastSeen)
	if err != nil {
		return classify("read the node", err)
	}
	if subtle.ConstantTimeCompare(want, proof(recoveryKey)) != 1 {
		return ErrRecoveryKey
	}
	src.Incarnation, src.Backlog, src.Lost = uint64(incarnation)+1, uint64(backlog), uint64(lost) // #nosec G115 -- counts
	var aside, events int64
	err = src.tx.QueryRow(ctx, src.sync.q("SELECT count(*) FROM @set_aside WHERE node_id = $1 AND kind <> 'event' AND body = ''"), src.ID).Scan(&aside)
	if err == nil {
		err = src.tx.QueryRow(ctx, src.sync.q("SELECT count(*) FROM ("+historySQL+") h"), src.historyArgs()...).Scan(&events)
	}
	src.SetAside, src.Events = uint64(aside), uint64(events) // #nosec G115 -- counts
	return classify("read the node", err)
}

// find resolves the name of a node.
func (src *Source) find(ctx context.Context, name string) error {
	rows, err := src.tx.Query(ctx, src.sync.q("SELECT id, name, last_seen FROM @nodes WHERE id = $1 OR name = $1 OR $1 = '' ORDER BY (id = $1) DESC, last_seen DESC LIMIT 20"), name)
	var list []string
	if err == nil {
		var id, called string
		var seen time.Time
		_, err = pgx.ForEachRow(rows, []any{&id, &called, &seen}, func() error {
			if len(list) == 0 {
				src.ID = id
			}
			list = append(list, fmt.Sprintf("%s (%s, last seen %s)", id, called, seen.Format(time.RFC3339)))
			return nil
		})
	}
	switch {
	case err != nil:
		return classify("find the node", err)
	case len(list) == 0:
		return fmt.Errorf("no node in the database has the name or id %q", name)
	case len(list) > 1 && src.ID != name:
		return fmt.Errorf("several nodes could be meant; give the id of one: %s", strings.Join(list, ", "))
	}
	return nil
}

// historySQL is the history that the node's retention keeps, oldest first.
const historySQL = `SELECT app, topic, seq, data, aside, source, published_at FROM (
	SELECT e.app, e.topic, e.seq, e.data, e.aside, e.source, e.published_at, e.received_at, e.lsn,
		row_number() OVER newest AS n, sum(coalesce(octet_length(e.aside), octet_length(e.data))) OVER newest AS size,
		coalesce(nullif(t.max_events, 0), $2) AS max_events, coalesce(nullif(t.max_bytes, 0), $3) AS max_bytes, coalesce(nullif(t.max_age_sec, 0), $4) AS max_age_sec
	FROM (
		SELECT app, topic, seq, coalesce(exact, data::text) AS data, NULL::bytea AS aside, source, published_at, received_at, lsn FROM @events WHERE node_id = $1
		UNION ALL SELECT app, name, seq, NULL, body, source, published_at, at, lsn FROM @set_aside WHERE node_id = $1 AND kind = 'event'
	) e
	LEFT JOIN @topics t ON (t.node_id, t.app, t.name) = ($1, e.app, e.topic)
	WHERE e.app IN ` + ofApps + ` AND NOT EXISTS (
		SELECT FROM @purges p WHERE (p.node_id, p.app) = ($1, e.app) AND (p.topic IS NULL OR p.topic = e.topic)
		AND (e.received_at, e.lsn) < (p.ordered_at, p.lsn))
	WINDOW newest AS (PARTITION BY e.app, e.topic ORDER BY e.received_at DESC, e.lsn DESC)
) kept
WHERE n <= max_events AND size <= max_bytes AND published_at > now() - make_interval(secs => max_age_sec)
ORDER BY received_at, lsn`

func (src *Source) historyArgs() []any {
	return []any{src.ID, int64(src.limits.MaxEvents), src.limits.MaxBytes, int64(src.limits.MaxAge / time.Second)}
}

// Records puts everything there is of the node: things first, then events of
// each app in order. None of it has been checked.
func (src *Source) Records(ctx context.Context, put func(picloud.Record) error) error {
	if err := src.things(ctx, func(c picloud.Change) error { return put(picloud.Record{Change: &c}) }); err != nil {
		return err
	}
	rows, err := src.tx.Query(ctx, src.sync.q(historySQL), src.historyArgs()...)
	if err != nil {
		return classify("read the history", err)
	}
	var e picloud.Event
	var seq int64
	var data *string
	var aside []byte
	_, err = pgx.ForEachRow(rows, []any{&e.App, &e.Topic, &seq, &data, &aside, &e.Source, &e.PublishedAt}, func() error {
		ev := e
		if ev.Data = bytes.Clone(aside); data != nil {
			ev.Data = []byte(*data)
		}
		ev.Seq = uint64(seq) // #nosec G115 -- as it was written; the store checks it
		return put(picloud.Record{Event: &ev})
	})
	return classify("read the history", err)
}

// things puts things, those first that others refer to.
func (src *Source) things(ctx context.Context, put putChange) error {
	for _, read := range []func(context.Context, putChange) error{
		src.apps, src.asideApps, src.topics, src.apiKeys, src.signingKeys, src.definitions, src.entries, src.documents, src.files, src.asideThings,
	} {
		if err := read(ctx, put); err != nil {
			return err
		}
	}
	return nil
}

// putChange takes what a thing is.
type putChange func(picloud.Change) error

func (src *Source) apps(ctx context.Context, put putChange) error {
	var a picloud.App
	return src.each(ctx, "SELECT a.name, a.description, a.allowed_origins, a.created_at, a.updated_at FROM @apps a WHERE a.node_id = $1"+unlessAside("'app'", "a.name", "a.name")+src.only.sql("a.name", "a.name")+" ORDER BY 1",
		[]any{&a.Name, &a.Description, &a.AllowedOrigins, &a.CreatedAt, &a.UpdatedAt}, func() error {
			v := a
			v.CreatedAt, v.UpdatedAt = a.CreatedAt.UTC(), a.UpdatedAt.UTC()
			return put(picloud.Change{Kind: picloud.ChangeApp, App: v.Name, Name: v.Name, Value: v})
		})
}

func (src *Source) topics(ctx context.Context, put putChange) error {
	var t picloud.Topic
	var auth, durability string
	var events, age int64
	return src.each(ctx, `SELECT t.app, t.name, t.description, t.external, t.auth_mode, t.durability, t.max_events, t.max_age_sec, t.max_bytes, t.created_at, t.updated_at FROM @topics t
		WHERE t.node_id = $1 AND t.app IN `+ofApps+unlessAside("'topic'", "t.app", "t.name")+src.only.sql("t.app", "t.name")+" ORDER BY 1, 2",
		[]any{&t.App, &t.Name, &t.Description, &t.External, &auth, &durability, &events, &age, &t.Retention.MaxBytes, &t.CreatedAt, &t.UpdatedAt}, func() error {
			v := t
			v.AuthMode, v.Durability = picloud.AuthMode(auth), picloud.Durability(durability)
			v.Retention.MaxEvents, v.Retention.MaxAge = int(events), time.Duration(age)*time.Second
			v.CreatedAt, v.UpdatedAt = t.CreatedAt.UTC(), t.UpdatedAt.UTC()
			return put(picloud.Change{Kind: picloud.ChangeTopic, App: v.App, Name: v.Name, Value: v})
		})
}

func (src *Source) apiKeys(ctx context.Context, put putChange) error {
	var k picloud.APIKey
	var app *string
	var scopes []string
	var hash []byte
	var expires, used *time.Time
	return src.each(ctx, `SELECT k.id, k.label, k.app, k.scopes, k.hash, k.created_at, k.expires_at, k.last_used_at FROM @api_keys k
		WHERE k.node_id = $1 AND (k.app IS NULL OR k.app IN `+ofApps+")"+unlessAside("'api-key'", "''", "k.id")+src.only.sql("''", "k.id")+" ORDER BY 1",
		[]any{&k.ID, &k.Label, &app, &scopes, &hash, &k.CreatedAt, &expires, &used}, func() error {
			v := picloud.APIKey{ID: k.ID, Label: k.Label, CreatedAt: k.CreatedAt.UTC(), ExpiresAt: orZero(expires), LastUsedAt: orZero(used)}
			if app != nil {
				v.App = *app
			}
			for _, sc := range scopes {
				v.Scopes = append(v.Scopes, picloud.Scope(sc))
			}
			copy(v.Hash[:], hash)
			return put(picloud.Change{Kind: picloud.ChangeAPIKey, Name: v.ID, Value: v})
		})
}

func (src *Source) signingKeys(ctx context.Context, put putChange) error {
	var k picloud.SigningKey
	var secret []byte
	var retires *time.Time
	return src.each(ctx, `SELECT k.app, k.key_id, k.secret, k.created_at, k.retires_at FROM @app_secrets k
		WHERE k.node_id = $1 AND k.app IN `+ofApps+unlessAside("'signing-key'", "k.app", "k.key_id")+src.only.sql("k.app", "k.key_id")+" ORDER BY 1, 2",
		[]any{&k.App, &k.ID, &secret, &k.CreatedAt, &retires}, func() error {
			v := picloud.SigningKey{ID: k.ID, App: k.App, CreatedAt: k.CreatedAt.UTC(), RetiresAt: orZero(retires)}
			copy(v.Secret[:], secret)
			return put(picloud.Change{Kind: picloud.ChangeSigningKey, App: v.App, Name: v.ID, Value: v})
		})
}

func (src *Source) entries(ctx context.Context, put putChange) error {
	var e picloud.Entry
	var value *string
	var raw []byte
	var version int64
	var expires *time.Time
	return src.each(ctx, `SELECT k.app, k.key, coalesce(k.exact, k.value::text), k.bytes, k.version, k.updated_at, k.expires_at FROM @kv k
		WHERE k.node_id = $1 AND k.app IN `+ofApps+unlessAside("'kv'", "k.app", "k.key")+src.only.sql("k.app", "k.key")+" ORDER BY 1, 2",
		[]any{&e.App, &e.Key, &value, &raw, &version, &e.UpdatedAt, &expires}, func() error {
			v := e
			v.Version, v.UpdatedAt, v.ExpiresAt = uint64(version), e.UpdatedAt.UTC(), orZero(expires) // #nosec G115 -- as it was written
			if value == nil {
				v.Binary, v.Value = true, bytes.Clone(raw)
				return put(picloud.Change{Kind: picloud.ChangeKV, App: v.App, Name: v.Key, Value: v})
			}
			v.Value = compact(*value)
			return put(picloud.Change{Kind: picloud.ChangeKV, App: v.App, Name: v.Key, Value: v})
		})
}

func (src *Source) documents(ctx context.Context, put putChange) error {
	var d picloud.Document
	var body string
	var version int64
	return src.each(ctx, `SELECT d.app, d.collection, d.id, coalesce(d.exact, d.body::text), d.version, d.created_at, d.updated_at FROM @documents d
		WHERE d.node_id = $1 AND d.app IN `+ofApps+unlessAside("'document'", "d.app", "d.collection || '/' || d.id")+src.only.sql("d.app", "d.collection || '/' || d.id")+" ORDER BY 1, 2, 3",
		[]any{&d.App, &d.Collection, &d.ID, &body, &version, &d.CreatedAt, &d.UpdatedAt}, func() error {
			v := d
			v.Version, v.CreatedAt, v.UpdatedAt = uint64(version), d.CreatedAt.UTC(), d.UpdatedAt.UTC() // #nosec G115 -- as it was written
			v.Body = compact(body)
			return put(picloud.Change{Kind: picloud.ChangeDocument, App: v.App, Name: v.Collection + "\x00" + v.ID, Value: v})
		})
}

// definitions leaves their JSON to the store, which knows the kinds.
func (src *Source) definitions(ctx context.Context, put putChange) error {
	var app, kind, name, body string
	return src.each(ctx, `SELECT d.app, d.kind, d.name, coalesce(d.exact, d.body::text) FROM @definitions d
		WHERE d.node_id = $1 AND d.app IN `+ofApps+unlessAside("d.kind", "d.app", "d.name")+src.only.sql("d.app", "d.name")+" ORDER BY d.app, d.kind, d.name",
		[]any{&app, &kind, &name, &body}, func() error {
			return put(picloud.Change{Kind: picloud.ChangeKind(kind), App: app, Name: name, Value: json.RawMessage(body)})
		})
}

func (src *Source) each(ctx context.Context, sql string, into []any, fn func() error) error {
	args := []any{src.ID}
	if src.only != nil {
		args = append(args, src.only.apps, src.only.names)
	}
	rows, err := src.tx.Query(ctx, src.sync.q(sql), args...)
	if err == nil {
		_, err = pgx.ForEachRow(rows, into, fn)
	}
	return classify("read the node", err)
}

// HandOver hands the node over to its restored self: from now on the old card is
// fenced off.
func (src *Source) HandOver(ctx context.Context, node picloud.Node, last uint64) error {
	_, err := src.tx.Exec(ctx, src.sync.q("UPDATE @nodes SET incarnation = $2, epoch = $3, lsn = $4, session = '', session_open = false, backlog = 0 WHERE id = $1"),
		src.ID, int64(node.Incarnation), node.Epoch.String(), int64(last)) // #nosec G115 -- counts
	if err == nil {
		err = src.tx.Commit(ctx)
	}
	return classify("hand the node over", err)
}

// compact is JSON as a node keeps it: jsonb puts spaces in. What is no JSON stays as it
// is, for the store to refuse.
func compact(text string) []byte {
	var b bytes.Buffer
	if json.Compact(&b, []byte(text)) != nil {
		return []byte(text)
	}
	return b.Bytes()
}

// orZero is what *t is, or the time that never is for NULL.
func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
