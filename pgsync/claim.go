package pgsync

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// sessionsNote is where a node notes its latest sessions, so that it knows its
// own when it finds one in the database.
const (
	sessionsNote = "pgsync sessions"
	maxSessions  = 16
)

// sessions returns the sessions that may be found in the database if no session but
// this node has written there; the present one is among them, durably.
//
// A copy of the card has the list as it was when the copy was made. As soon as
// one of the two has claimed the node with a new session, the other does not
// know it.
func (s *Sync) sessions(ctx context.Context) ([]string, error) {
	var list []string
	if b := s.cfg.Local.Note(sessionsNote); b != nil {
		if err := json.Unmarshal(b, &list); err != nil {
			return nil, fmt.Errorf("read the list of sessions: %w", err)
		}
	}
	if slices.Contains(list, s.session) {
		return list, nil
	}
	list = append(list, s.session)
	list = list[max(0, len(list)-maxSessions):]
	b, err := json.Marshal(list)
	if err == nil {
		err = s.cfg.Local.SetNote(ctx, sessionsNote, b)
	}
	if err != nil {
		return nil, fmt.Errorf("note the session: %w", err)
	}
	return list, nil
}

// claim makes this process the one that may write for the node, and finds out
// how far the node has come.
func (s *Sync) claim(ctx context.Context) error {
	known, err := s.sessions(ctx)
	if err != nil {
		return err
	}
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return classify("claim the node", err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // nothing to do when it was committed
	lsn, err := s.claimIn(ctx, tx, known)
	if err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return classify("claim the node", err)
	}
	s.lsn = lsn
	return nil
}

// row is what the database knows of the node.
type row struct {
	epoch       string
	incarnation uint64
	lsn         uint64
	session     string
	open        bool
	place       string
	silent      time.Duration
}

func (s *Sync) claimIn(ctx context.Context, tx pgx.Tx, known []string) (uint64, error) {
	node := s.cfg.Local.Node()
	_, err := tx.Exec(ctx, s.q(`INSERT INTO @nodes (id, name, version, epoch, incarnation, recovery)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING`),
		node.ID, node.Name, s.cfg.Version, node.Epoch.String(), int64(node.Incarnation), proof(s.cfg.Local.RecoveryKey())) // #nosec G115 -- counts restores
	if err != nil {
		return 0, classify("register the node", err)
	}
	var r row
	var seconds float64
	err = tx.QueryRow(ctx, s.q(`SELECT epoch, incarnation, lsn, session, session_open, place,
		extract(epoch FROM clock_timestamp() - last_seen)::float8 FROM @nodes WHERE id = $1 FOR UPDATE`), node.ID).
		Scan(&r.epoch, &r.incarnation, &r.lsn, &r.session, &r.open, &r.place, &seconds)
	if err != nil {
		return 0, classify("claim the node", err)
	}
	r.silent = time.Duration(seconds * float64(time.Second))
	if err := s.mayClaim(&node, &r, known); err != nil {
		return 0, err
	}
	lsn := s.cfg.Local.SharedUpTo(r.epoch, r.lsn)
	if lsn < r.lsn {
		how := partedByLoss
		if r.incarnation < node.Incarnation && s.cfg.Local.RestoredOnPurpose() { // what is lost later is lost
			how = partedOnPurpose
		} else {
			s.cfg.Local.TellLoss(fmt.Sprintf("Postgres has %d records of this node that are not in its present history: its journal, or its identity, was lost.", r.lsn-lsn))
		}
		if err := s.cfg.Local.SetNote(ctx, partedNote, []byte(how)); err != nil {
			return 0, fmt.Errorf("note that the copy has another history: %w", err)
		}
		s.log.Warn("the journal is not the one that was copied: going on where the two part", slog.Uint64("copied", r.lsn), slog.Uint64("from", lsn))
	}
	if last := s.cfg.Local.LastLSN(); lsn > last {
		return 0, advise("stop the node and run 'picloud node take-over'", "Postgres has %d records of this node, its journal only %d: the card was set back to an older state", lsn, last)
	}
	_, err = tx.Exec(ctx, s.q(`UPDATE @nodes SET name = $2, version = $3, epoch = $4, incarnation = $5, lsn = $6, session = $7,
		session_open = true, place = $8, last_seen = now(), recovery = $9 WHERE id = $1`),
		node.ID, node.Name, s.cfg.Version, node.Epoch.String(), int64(node.Incarnation), int64(lsn), s.session, s.cfg.Place, proof(s.cfg.Local.RecoveryKey())) // #nosec G115 -- as above
	return lsn, classify("claim the node", err)
}

// mayClaim decides whether the node is this process's to claim.
func (s *Sync) mayClaim(node *picloud.Node, r *row, known []string) error {
	switch {
	case r.incarnation > node.Incarnation:
		return advise("take this card out of service; what it has that Postgres has not stays on it. To go on with it beside the other, stop it and run 'picloud node new-identity'",
			"this is an old card: node %s was restored elsewhere (incarnation %d, this one is %d)", node.ID, r.incarnation, node.Incarnation)
	case r.incarnation < node.Incarnation, r.session == "", r.session == s.session:
		return nil
	case !slices.Contains(known, r.session) && !s.hasForgotten(r):
		return errTaken
	case r.open && r.place != s.cfg.Place && r.silent < s.cfg.Lease:
		return advise(fmt.Sprintf("wait %v, if this board has just been started again; else another card is a copy of this one: stop one of the two, and run 'picloud node new-identity' on it", s.cfg.Lease),
			"this node has been seen elsewhere %v ago", r.silent.Round(time.Second))
	}
	return nil
}

// hasForgotten reports whether the session that the database knows may be one that this
// node has lost the note of: it was at this place, and the node has lost rows.
func (s *Sync) hasForgotten(r *row) bool {
	return r.place == s.cfg.Place && len(s.cfg.Local.MissingRows()) > 0
}

// proof is what the database keeps of a recovery key: enough to check one, not
// enough to make one.
func proof(key []byte) []byte {
	h := sha256.Sum256(append([]byte("picloud recovery\x00"), key...))
	return h[:]
}
