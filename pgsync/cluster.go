package pgsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/backoff"
	"github.com/picloud/picloud/check"
)

// Relay takes events of other nodes; *realtime.Hub implements it.
type Relay interface {
	// Relay hands over events, of each node in its order.
	Relay(events []picloud.Event)
	// Listened lists the topics that have subscribers here, by app.
	Listened() (apps, topics []string)
}

// Cluster brings events of other nodes to live subscribers of this one. A
// notification is only a hint to look; what there is to see is found by the
// positions of the nodes. Each node copies itself in order and moves its
// position in the same transaction, so that a reader that sees a position sees all
// events up to it, and none can appear behind it later.
type Cluster struct {
	cfg     Config
	relay   Relay
	log     *slog.Logger
	sql     *Sync // for its schema
	began   time.Time
	cursors map[string]seen // nil: has not looked yet
}

// seen is how far another node's events were brought here.
type seen struct {
	epoch string
	lsn   int64
}

// NewCluster returns a Cluster that gives to relay.
func NewCluster(cfg Config, relay Relay) *Cluster {
	if direct, url := cfg.DirectURL, cfg.URL; direct != nil {
		cfg.URL = func() (string, error) {
			if text, err := direct(); err != nil || text != "" {
				return text, err
			}
			return url()
		}
	}
	cfg = cfg.withDefaults()
	return &Cluster{cfg: cfg, relay: relay, log: cfg.Logger.With(slog.String("component", "cluster")), sql: New(cfg)}
}

// Intervals of a Cluster.
const (
	pollEvery    = 5 * time.Second       // in case a notification was lost
	pollPooled   = time.Second           // where none come: a pooler passes none on
	lookEvery    = 10 * time.Millisecond // at most: one look for many notifications
	clusterPage  = 1000                  // events of one look
	clusterRetry = 10 * time.Second      // longest pause after an error
	liveFor      = time.Hour             // what came to the database longer ago is not live any more
)

func channel(schema string) string { return "picloud events " + schema }

// Run brings events here until ctx ends. While the database is away there are
// none; afterwards those follow that were missed.
func (c *Cluster) Run(ctx context.Context) error {
	c.began = c.cfg.Now()
	pause := backoff.Backoff{Min: 500 * time.Millisecond, Max: clusterRetry}
	var last string
	for {
		began := c.cfg.Now()
		err := c.listen(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it ended because it was told to
		}
		if text := err.Error(); text != last {
			c.log.Warn("events of other nodes are not coming", slog.Any("err", err))
			last = text
		}
		if c.cfg.Now().Sub(began) > clusterRetry {
			pause.Reset()
			last = ""
		}
		select {
		case <-time.After(pause.Next()):
		case <-ctx.Done():
			return nil
		}
	}
}

// listen looks whenever it is told to, and now and then.
func (c *Cluster) listen(ctx context.Context) error {
	connectCtx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	conn, err := connect(connectCtx, &c.cfg)
	if err != nil {
		return err
	}
	hears := !c.cfg.pooled.Load()
	defer func() {
		closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closeCtx) // it may be what has failed
	}()
	if hears {
		if _, err := conn.Exec(connectCtx, "LISTEN "+pgx.Identifier{channel(c.cfg.Schema)}.Sanitize()); err != nil {
			return classify("listen", err)
		}
	}
	for {
		more, err := c.look(ctx, conn)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		if !hears {
			select {
			case <-time.After(pollPooled):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		} else if err := c.wait(ctx, conn); err != nil {
			return err
		}
	}
}

// wait returns when there may be something new.
func (c *Cluster) wait(ctx context.Context, conn *pgx.Conn) error {
	waitCtx, cancel := context.WithTimeout(ctx, pollEvery)
	defer cancel()
	looked := time.Now()
	_, err := conn.WaitForNotification(waitCtx)
	for err == nil && time.Since(looked) < lookEvery { // others are under way already
		var settle context.CancelFunc
		waitCtx, settle = context.WithDeadline(ctx, looked.Add(lookEvery))
		_, err = conn.WaitForNotification(waitCtx)
		settle()
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return classify("wait for events of other nodes", err)
}

// look brings what is new, and reports whether there is more.
func (c *Cluster) look(ctx context.Context, conn *pgx.Conn) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if c.cursors == nil {
		return false, c.lookFirst(ctx, conn)
	}
	heads, err := c.heads(ctx, conn)
	if err != nil {
		return false, err
	}
	var ids, epochs []string
	var from, to []int64
	for id, head := range heads {
		at, known := c.cursors[id]
		if known && at == head {
			continue
		}
		if at.epoch != head.epoch {
			at = seen{epoch: head.epoch}
		}
		ids, epochs, from, to = append(ids, id), append(epochs, head.epoch), append(from, at.lsn), append(to, head.lsn)
	}
	if len(ids) == 0 {
		return false, nil
	}
	apps, topics := c.relay.Listened()
	if len(topics) > 0 {
		events, last, err := c.events(ctx, conn, fmt.Sprintf(`SELECT %s
			FROM unnest($4::text[], $5::text[], $6::bigint[], $7::bigint[]) AS n (id, epoch, after, upto)
			JOIN @events e ON (e.node_id, e.epoch) = (n.id, n.epoch) AND e.lsn > n.after AND e.lsn <= n.upto
			WHERE %s LIMIT %d`, eventColumns, listenedLately, clusterPage), apps, topics, liveFor.Seconds(), ids, epochs, from, to)
		if err != nil {
			return false, err
		}
		c.relay.Relay(events)
		if last.rows == clusterPage { // the nodes come in order of id: what follows the last event has not been read
			c.advance(heads, ids, last)
			return true, nil
		}
	}
	c.cursors = heads
	return false, nil
}

// lookFirst finds out where the other nodes are, and brings what has come to the
// database since this node was started: the database may have been away.
func (c *Cluster) lookFirst(ctx context.Context, conn *pgx.Conn) error {
	since := min(liveFor, c.cfg.Now().Sub(c.began))
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}) // both from one snapshot
	if err != nil {
		return classify("look at the other nodes", err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // only read
	heads, err := c.heads(ctx, conn)
	if err != nil {
		return err
	}
	if apps, topics := c.relay.Listened(); len(topics) > 0 {
		events, _, err := c.events(ctx, conn, fmt.Sprintf("SELECT %s FROM @events e WHERE e.node_id <> $4 AND %s", eventColumns, listenedLately),
			apps, topics, since.Seconds(), c.cfg.Local.Node().ID)
		if err != nil {
			return err
		}
		c.relay.Relay(events)
	}
	c.cursors = heads
	return nil
}

// advance moves the cursors up to the last event that was read.
func (c *Cluster) advance(heads map[string]seen, ids []string, last lastRead) {
	for _, id := range ids {
		switch {
		case id < last.node:
			c.cursors[id] = heads[id]
		case id == last.node:
			c.cursors[id] = seen{epoch: heads[id].epoch, lsn: last.lsn}
		}
	}
}

// lastRead is the event a page ended with.
type lastRead struct {
	node string
	lsn  int64
	rows int // of the page
}

func (c *Cluster) heads(ctx context.Context, conn *pgx.Conn) (map[string]seen, error) {
	rows, err := conn.Query(ctx, c.sql.q("SELECT id, epoch, lsn FROM @nodes WHERE id <> $1"), c.cfg.Local.Node().ID)
	heads := map[string]seen{}
	if err == nil {
		var id string
		var s seen
		_, err = pgx.ForEachRow(rows, []any{&id, &s.epoch, &s.lsn}, func() error {
			heads[id] = s
			return nil
		})
	}
	return heads, classify("look at the other nodes", err)
}

// What both looks have in common: parameters 1 and 2 are what is listened to, 3
// is for how long events count as live.
const (
	eventColumns   = "e.node_id, e.epoch, e.lsn, e.app, e.topic, e.seq, coalesce(e.exact, e.data::text), e.source, e.published_at"
	listenedLately = `e.received_at > now() - make_interval(secs => $3) AND (e.app, e.topic) IN (SELECT * FROM unnest($1::text[], $2::text[]))
		ORDER BY e.node_id COLLATE "C", e.lsn`
)

func (c *Cluster) events(ctx context.Context, conn *pgx.Conn, sql string, args ...any) (events []picloud.Event, last lastRead, err error) {
	rows, err := conn.Query(ctx, c.sql.q(sql), args...)
	if err != nil {
		return nil, last, classify("read events of other nodes", err)
	}
	var e picloud.Event
	var epoch string
	var seq int64
	var data []byte
	_, err = pgx.ForEachRow(rows, []any{&e.Node, &epoch, &last.lsn, &e.App, &e.Topic, &seq, &data, &e.Source, &e.PublishedAt}, func() error {
		last.node = e.Node
		last.rows++
		pos, err := picloud.ParsePosition(epoch + "." + strconv.FormatInt(seq, 10))
		var text bytes.Buffer
		if err != nil || check.CompactJSON(&text, data) != nil {
			return nil //nolint:nilerr // no node has written that: it is passed over, and holds up nothing
		}
		ev := e
		ev.Position, ev.PublishedAt, ev.Durability, ev.Data = pos, e.PublishedAt.UTC(), picloud.DurabilityCentral, text.Bytes()
		events = append(events, ev)
		return nil
	})
	return events, last, classify("read events of other nodes", err)
}
