package pgsync

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// Take copies records and moves the position, in one transaction and one round
// trip.
func (s *Sync) Take(ctx context.Context, batch []picloud.Record, upTo uint64) error {
	c := collect(batch)
	if len(c.purges) > 0 {
		s.maintained = time.Time{} // there is something to remove
	}
	if err := s.sendContents(ctx, c.changes()); err != nil {
		return err
	}
	return s.write(ctx, "copy records", upTo, func(b *pgx.Batch) {
		s.queueEvents(b, c.events)
		s.queueStamped(b, c.stamped)
		s.queueRows(b, c)
		if s.cfg.Notify && len(c.events)+len(c.stamped) > 0 {
			b.Queue("SELECT pg_notify($1, $2)", channel(s.cfg.Schema), s.cfg.Local.Node().ID)
		}
	})
}

// write runs the statements that fill queues behind the move of the position.
// There is no BEGIN: what is sent in one go up to the next sync of the protocol
// is one transaction.
func (s *Sync) write(ctx context.Context, doing string, upTo uint64, fill func(b *pgx.Batch)) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	var b pgx.Batch
	waiting := int64(s.cfg.Local.RecordsAfter(upTo)) // #nosec G115 -- counts records
	if s.cfg.pooled.Load() {
		ms := s.cfg.Timeout.Milliseconds()
		b.Queue("SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true)", strconv.FormatInt(ms, 10), strconv.FormatInt(ms/2, 10))
	}
	b.Queue(s.q("SELECT @advance($1, $2, $3, $4, $5)"), s.cfg.Local.Node().ID, s.session, int64(s.lsn), int64(upTo), waiting) // #nosec G115 -- counts records
	fill(&b)
	if err := s.conn.SendBatch(ctx, &b).Close(); err != nil {
		return classify(doing, err)
	}
	s.lsn = upTo
	return nil
}

// queueEvents inserts events by one statement, whatever their number.
func (s *Sync) queueEvents(b *pgx.Batch, events []picloud.Record) {
	if len(events) == 0 {
		return
	}
	n := len(events)
	var (
		lsn    = make([]int64, n)
		app    = make([]string, n)
		topic  = make([]string, n)
		seq    = make([]int64, n)
		data   = make([]*string, n)
		exact  = make([]*string, n)
		source = make([]string, n)
		at     = make([]int64, n)
	)
	for i := range events {
		e := events[i].Event
		lsn[i], seq[i] = int64(events[i].LSN), int64(e.Seq) // #nosec G115 -- counts records
		app[i], topic[i], source[i], at[i] = e.App, e.Topic, plain(e.Source), e.PublishedAt.UnixMicro()
		text := asJSON(e.Data)
		data[i], exact[i] = text.jsonb, text.exact
	}
	b.Queue(s.q(`INSERT INTO @events (node_id, epoch, lsn, app, topic, seq, data, exact, source, published_at)
		SELECT $1, $2, lsn, app, topic, seq, data::jsonb, exact, source, timestamptz 'epoch' + at * interval '1 microsecond'
		FROM unnest($3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::bigint[]) AS e (lsn, app, topic, seq, data, exact, source, at)`),
		s.cfg.Local.Node().ID, events[0].Event.Epoch.String(), lsn, app, topic, seq, data, exact, source, at)
}

// queueStamped inserts events whose time has to be corrected later. They are
// few: a board learns the time soon after it has started.
func (s *Sync) queueStamped(b *pgx.Batch, events []picloud.Record) {
	for i := range events {
		e := events[i].Event
		text := asJSON(e.Data)
		b.Queue(s.q(`INSERT INTO @events (node_id, epoch, lsn, app, topic, seq, data, exact, source, published_at, clock, boot, board_started_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9, $10, 'unsynced', $11, $12)`),
			s.cfg.Local.Node().ID, e.Epoch.String(), int64(events[i].LSN), e.App, e.Topic, int64(e.Seq), text.jsonb, text.exact, plain(e.Source), e.PublishedAt, e.Stamp.Boot, e.Stamp.Started) // #nosec G115 -- counts
	}
}

// Skip notes that records were dropped before they could be copied; those of the
// time before there was a copy are not counted as lost. The rows of things are
// begun anew: the journal repeats all that there still are. What apps keep as
// data it does not repeat: that is copied as it is now, and what comes behind in
// the journal does no harm to it.
func (s *Sync) Skip(ctx context.Context, to uint64) (lost uint64, err error) {
	node := s.cfg.Local.Node().ID
	if s.lsn > 0 {
		lost = to - s.lsn
	}
	if err := s.copyData(ctx); err != nil {
		return 0, err
	}
	return lost, s.write(ctx, "skip what was dropped", to, func(b *pgx.Batch) {
		b.Queue(s.q("UPDATE @nodes SET lost = lost + $2 WHERE id = $1"), node, int64(lost)) // #nosec G115 -- counts records
		for _, table := range []string{"apps", "topics", "api_keys"} {
			b.Queue(s.q("DELETE FROM @"+table+" WHERE node_id = $1"), node)
		}
		b.Queue(s.q("DELETE FROM @definitions WHERE node_id = $1 AND kind <> ALL ($2)"), node, dataKinds)
	})
}
