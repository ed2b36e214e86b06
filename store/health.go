package store

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
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

// errChecksum says that a row is not what was written.
var errChecksum = errors.New("its checksum is wrong")

// rowDamaged tells of a row of state.db that is not what was written, each once. To those
// who read it it is not there. Any may call it.
func (s *Store) rowDamaged(key []byte, cause error) {
	name := "A part of state.db"
	if len(key) > 0 {
		name = nameRow(table(key[0]), key[1:])
	}
	text := fmt.Sprintf("%s in state.db cannot be read (%v). Replace the card, and start the node again, which mends what it can.", name, cause)
	if s.lostRows(text) {
		s.log.Error("row is damaged", slog.String("row", name), slog.Any("err", cause))
	}
}

// dropBad drops the rows of state.db whose checksums were wrong when it was opened.
func (s *Store) dropBad(r *recovery) {
	for i, key := range s.tables.db.bad {
		t := table(key[0])
		s.tables.put([]change{{table: t, key: key[1:]}})
		if i < maxNotes {
			r.Lost = append(r.Lost, nameRow(t, key[1:])+" in state.db is damaged and is lost.")
		}
	}
	if more := len(s.tables.db.bad) - maxNotes; more > 0 {
		r.Lost = append(r.Lost, fmt.Sprintf("%d more rows of state.db are damaged and are lost.", more))
	}
}

// nameRow names a row for people: its table, and its key, which begins with the app of
// most.
func nameRow(t table, key []byte) string {
	k := t.kind()
	if k == nil {
		return fmt.Sprintf("A row of an unknown table, %q,", key)
	}
	if app, rest, ok := bytes.Cut(key, []byte{0}); ok && !k.node {
		return fmt.Sprintf("A row of %s, %q of app %q,", k.name, rest, app)
	}
	return fmt.Sprintf("A row of %s, %q,", k.name, key)
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
