package store

import (
	"fmt"
	"path/filepath"
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
	if s.space.state.Load() {
		h.Notes = append(h.Notes, "Key-value pairs, documents, scripts and what waits for triggers have filled state.db: more of them is refused until some are deleted. GET /v1/apps/{app} says how much an app keeps; quota.data_bytes bounds each.")
	}
	h.Notes = append(h.Notes, s.openIncidents()...)
	h.Degraded = len(h.Notes) > 0
	return h
}

// health collects conditions that last until the next start. What was lost or damaged
// is an incident.
type health struct {
	mu    sync.Mutex
	notes []string
}

// journalDamaged tells of a file of the journal with records that cannot be read back.
func (s *Store) journalDamaged(d *journal.DamageError) {
	s.incident(fmt.Sprintf("Records in the journal file %s are damaged, and left out where they are read. Replace the card, and restore a backup if you need them.", filepath.Base(d.File)))
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
