package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/picloud/picloud"
)

const tableIncident table = 36 // id: a loss or damage, until others take its place

var incidentKind = rowKind{
	name: "incidents", catalog: inMemory[Incident], node: true,
	committed: func(s *Store, ch change) { s.incidents.forget(string(ch.key)) },
}

func (c *catalog) incidents() *btree.Map[string, Incident] {
	return rowsOf[Incident](c, tableIncident)
}

// Incident is a loss or damage that was found. It is told until it is acknowledged.
type Incident struct {
	ID             string
	Text           string // what happened, and what to do
	At             time.Time
	AcknowledgedAt time.Time // zero: not yet

	Rows     bool      `cbor:",omitempty"` // rows were lost that a copy may have
	HealedAt time.Time `cbor:",omitzero"`  // when a copy was asked for what is missing; zero: not yet
	Healed   string    `cbor:",omitempty"` // what came back
}

// text is what there is to tell.
func (in *Incident) text() string {
	if in.Healed == "" {
		return in.Text
	}
	return in.Text + " " + in.Healed
}

func incidentID(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:5])
}

// maxIncidents bounds the list. Acknowledged incidents make room, oldest first; the log
// has them all.
const maxIncidents = 100

// incidents holds what was found and is not yet in the tables. It is safe for concurrent
// use.
type incidents struct {
	mu      sync.Mutex
	pending map[string]Incident
}

// incident keeps a loss or damage, which the text tells people with what to do, until an
// operator acknowledges it. The same text again is the same incident. It is durable soon
// after; on a disk that cannot be written it is kept until the node ends.
func (s *Store) incident(text string) { s.keepIncident(Incident{Text: text}) }

// lostRows is incident for a loss of rows, or of records that may have been rows. It
// reports whether it was not known.
func (s *Store) lostRows(text string) (fresh bool) {
	return s.keepIncident(Incident{Text: text, Rows: true})
}

func (s *Store) keepIncident(in Incident) (fresh bool) {
	in.ID, in.At = incidentID(in.Text), fromMicros(micros(s.cfg.Now()))
	if c := s.catalog.Load(); c != nil {
		if _, known := c.incidents().Get(in.ID); known {
			return false
		}
	}
	s.incidents.mu.Lock()
	defer s.incidents.mu.Unlock()
	if _, known := s.incidents.pending[in.ID]; known || len(s.incidents.pending) >= maxIncidents {
		return false
	}
	if s.incidents.pending == nil {
		s.incidents.pending = map[string]Incident{}
	}
	s.incidents.pending[in.ID] = in
	s.intake.tell()
	return true
}

// waiting returns what is not yet in the tables, oldest first.
func (i *incidents) waiting() []Incident {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.SortedFunc(maps.Values(i.pending), olderIncident)
}

func olderIncident(a, b Incident) int {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID))
}

// forget drops what is in the tables.
func (i *incidents) forget(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.pending, id)
}

// Incidents returns losses and damage, oldest first, those that were acknowledged
// included as long as they are kept.
func (s *Store) Incidents() []Incident {
	byID := map[string]Incident{}
	for _, in := range s.incidents.waiting() {
		byID[in.ID] = in
	}
	s.catalog.Load().incidents().Scan(func(id string, in Incident) bool {
		byID[id] = in
		return true
	})
	return slices.SortedFunc(maps.Values(byID), olderIncident)
}

// openIncidents returns the texts of those that were not acknowledged.
func (s *Store) openIncidents() (texts []string) {
	if s.catalog.Load() == nil {
		return nil
	}
	for _, in := range s.Incidents() {
		if in.AcknowledgedAt.IsZero() {
			texts = append(texts, in.text())
		}
	}
	return texts
}

// AckIncidents acknowledges incidents by their ids, or all without any, and returns how
// many that were not acknowledged yet. An id that is not there is
// picloud.ErrIncidentNotFound, and none is acknowledged.
func (s *Store) AckIncidents(ctx context.Context, ids ...string) (int, error) {
	return ask(ctx, s, "", 0, func(tx *tx) (n int, err error) {
		rows := tx.putIncidents(s.incidents.waiting())
		if len(ids) == 0 {
			ids = rows.Keys()
		}
		for _, id := range ids {
			in, ok := rows.Get(id)
			if !ok {
				return 0, picloud.ErrIncidentNotFound
			}
			if in.AcknowledgedAt.IsZero() {
				in.AcknowledgedAt = fromMicros(tx.at)
				tx.put(tableIncident, id, in)
				n++
			}
		}
		return n, nil
	})
}

// putIncidents stages what was found, and returns all there are then.
func (t *tx) putIncidents(found []Incident) *btree.Map[string, Incident] {
	for _, in := range found {
		rows := t.catalog.incidents()
		if _, known := rows.Get(in.ID); known {
			continue
		}
		if rows.Len() >= maxIncidents {
			old := slices.DeleteFunc(rows.Values(), func(in Incident) bool { return in.AcknowledgedAt.IsZero() })
			if len(old) == 0 {
				continue
			}
			t.remove(tableIncident, slices.MinFunc(old, olderIncident).ID)
		}
		t.put(tableIncident, in.ID, in)
	}
	return t.catalog.incidents()
}

// writeIncidents commits what was found, each with its event. A full disk is tried again
// with the next chores.
func (s *Store) writeIncidents() error {
	found := s.incidents.waiting()
	if len(found) == 0 || s.readOnly || s.space.full.Load() {
		return nil
	}
	g := s.commit.group
	s.beginGroup(g)
	if err := s.stageIncidents(g, found); err != nil {
		return err
	}
	return s.commitGroup(g)
}

// eventText is what events tell, which who may read the app default reads: names of other
// apps are only in the list of incidents.
const eventText = "A loss or damage was found: 'picloud incidents list' says what and what to do."

// stageIncidents stages incidents for which there is room, with their events.
func (s *Store) stageIncidents(g *group, found []Incident) error {
	var fresh []Incident
	err := s.stageChanges(g, func(tx *tx) error {
		before := tx.catalog.incidents()
		for _, in := range found {
			if _, known := before.Get(in.ID); !known {
				fresh = append(fresh, in)
			}
		}
		after := tx.putIncidents(fresh)
		fresh = slices.DeleteFunc(fresh, func(in Incident) bool {
			_, kept := after.Get(in.ID)
			if !kept {
				s.incidents.forget(in.ID) // there is no room; the log has it
			}
			return !kept
		})
		return nil
	})
	if err != nil {
		return err
	}
	for _, in := range fresh {
		data, err := json.Marshal(map[string]any{"id": in.ID, "at": in.At, "text": eventText})
		if err != nil {
			return err
		}
		c := command{publication: picloud.Publication{App: picloud.DefaultApp, By: picloud.System(), Drafts: []picloud.Draft{{Topic: picloud.TopicNodeDamage, Data: data}}}}
		if _, err := s.stagePublication(g, &c); err != nil {
			s.log.Warn("an incident has no event", slog.String("incident", in.ID), slog.Any("err", err))
		}
	}
	g.hard = g.hard || len(fresh) > 0
	return nil
}
