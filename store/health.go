package store

import (
	"slices"
	"sync"

	"github.com/picloud/picloud/journal"
)

// Health is the store's view of its own condition.
type Health struct {
	Degraded bool
	ReadOnly bool
	NoSpace  bool
	Notes    []string // what is wrong and what to do, for people
}

// Health returns the present condition.
func (s *Store) Health() Health {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	h := Health{Notes: slices.Clone(s.health.notes), ReadOnly: s.readOnly}
	if s.space.full.Load() {
		h.NoSpace = true
		h.Notes = append(h.Notes, "The disk is full up to its reserve: publishing is refused until space is freed.")
	}
	if s.space.backlog.Load() {
		h.NoSpace = true
		h.Notes = append(h.Notes, "The journal has used up its budget with what Postgres has not got yet: publishing is refused until it can be reached.")
	}
	h.Degraded = len(h.Notes) > 0
	return h
}

// health collects what went wrong and stays wrong until an operator has looked:
// it is kept until the next start.
type health struct {
	mu    sync.Mutex
	notes []string
}

// damaged notes a record that cannot be read back.
func (h *health) damaged(d *journal.DamageError) {
	h.note("The journal is damaged in places: " + d.Error() + ". Replace the card and restore a backup.")
}

// maxNotes bounds the list; the log has them all.
const maxNotes = 32

func (h *health) note(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.notes) < maxNotes && !slices.Contains(h.notes, text) {
		h.notes = append(h.notes, text)
	}
}
