package store

import (
	"context"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// Publish commits a publication and returns its events in the order of its
// drafts. It checks neither rights nor data; package publish
// does. The drafts' data belong to the store from now on.
//
// An idempotency key that was used within 24 hours answers the first events
// again, or picloud.ErrIdempotencyReused when it stood for another request.
func (s *Store) Publish(ctx context.Context, p picloud.Publication) ([]picloud.Event, error) {
	c := s.newCommand()
	c.app, c.publication = p.App, p
	c.size = int64(groupCost(p))
	if p.IdempotencyKey != "" {
		c.print = printOf(p.Drafts)
	}
	if err := s.submit(ctx, c); err != nil {
		return nil, err
	}
	events := c.events
	s.release(c)
	return events, nil
}

// recordCost is an upper bound of what a record of the journal takes beside key
// and body.
const recordCost = 64

// groupCost is an upper bound of what a publication takes in the journal.
func groupCost(p picloud.Publication) int {
	n := len(p.IdempotencyKey) + 32
	for _, d := range p.Drafts {
		n += recordCost + len(p.App) + len(d.Topic) + len(p.By.Name) + 24 + len(d.Data)
	}
	return n
}

// stagePublication turns a publication into records. It stages nothing when it
// returns an error, and reports whether any of its events must be durable
// before it is answered.
func (s *Store) stagePublication(g *group, c *command) (hard bool, err error) {
	p := &c.publication
	row, err := g.catalog.app(p.App)
	if err != nil {
		return false, err
	}
	if p.Cause.Incarnation != 0 && p.Cause.Incarnation != row.Incarnation {
		return false, picloud.ErrAppNotFound
	}
	var period idemPeriod
	if p.IdempotencyKey != "" {
		if period = g.idem; period.Number == 0 {
			period = s.commit.idem
		}
		period = period.at(g.at, g.stamp)
		if first, ok := s.findIdem(g, row, p.IdempotencyKey, period); ok {
			if first.Print != c.print {
				return false, picloud.ErrIdempotencyReused
			}
			s.metrics.repeated.Inc()
			c.events = s.repeat(p, first)
			// The first answer may be in this very group: this one must not
			// overtake its fsync.
			return true, nil
		}
		if err := s.admitIdem(g, row, p.IdempotencyKey, period); err != nil {
			return false, err
		}
	}
	if err := s.admitNames(g, p); err != nil {
		return false, err
	}
	if p.IdempotencyKey != "" {
		g.idem = period
	}
	source := p.By.Source()
	at := fromMicros(g.at)
	c.events = make([]picloud.Event, len(p.Drafts))
	for i, d := range p.Drafts {
		durability := picloud.DurabilityPending
		if g.topicDurability(p.App, d.Topic) != picloud.DurabilityTelemetry {
			durability, hard = picloud.DurabilityLocal, true
		}
		row.sequence.last++
		body := eventBody{hops: p.Cause.Hops, source: source, stamp: g.stamp, data: d.Data}
		if i == 0 && p.IdempotencyKey != "" {
			body.idem, body.print, body.count = p.IdempotencyKey, c.print, len(p.Drafts)
			key := idemChange(period, p.App, row.sequence.last, g.at, &body)
			s.stageCount(g, key)
			g.changes = append(g.changes, key)
		}
		lsn := s.nextLSN(g)
		g.records = append(g.records, journal.Record{
			Kind: kindEvent, More: i < len(p.Drafts)-1, Seq: row.sequence.last, At: g.at,
			Key: g.hold(func(b []byte) []byte { return eventKey(b, p.App, d.Topic) }), Body: g.hold(body.append),
		})
		c.events[i] = picloud.Event{
			Position: picloud.Position{Epoch: s.ident.epoch, Seq: row.sequence.last},
			App:      p.App, Topic: d.Topic, Data: d.Data, PublishedAt: at, Source: source, Durability: durability, Stamp: g.stamp, Edge: d.Edge,
		}
		if g.catalog.triggers().Len() > 0 {
			g.changes = append(g.changes, enqueue(g.catalog, eventHappened(&c.events[i], lsn, p.Cause.Hops))...)
		}
	}
	g.touch(row.sequence)
	g.notices = append(g.notices, notice{events: c.events})
	return hard, nil
}

// repeat rebuilds the first answer to a publication.
func (s *Store) repeat(p *picloud.Publication, first idemRow) []picloud.Event {
	events := make([]picloud.Event, len(p.Drafts))
	for i, d := range p.Drafts {
		events[i] = picloud.Event{
			Position: picloud.Position{Epoch: s.ident.epoch, Seq: first.First + uint64(i)}, // #nosec G115 -- an index
			App:      p.App, Topic: d.Topic, Data: d.Data, PublishedAt: fromMicros(first.At), Source: first.Source,
			Durability: picloud.DurabilityLocal,
		}
	}
	return events
}
