package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/picloud/picloud"
)

// letterRow is a dead letter as it is kept. The first version makes the triggers
// that wait for dead letters owe it.
type letterRow struct {
	Letter  picloud.DeadLetter
	Version uint64
}

// Bury gives a delivery up: it becomes a dead letter, and what dead_letter triggers
// owe for it is there with the same commit. What such a trigger itself fails at
// does not become one: that is noted on the letter it was about.
func (s *Store) Bury(ctx context.Context, t picloud.Trigger, d picloud.Delivery, reason string) error {
	return s.do(ctx, func(tx *tx) error {
		if !tx.settle(oweKey(t.App, t.ID, &d.LSN)) {
			return nil
		}
		if t.Kind == picloud.TriggerHTTP { // who asked learns it
			tx.failResult(t.App, d.What.Name)
			return nil
		}
		if t.Kind == picloud.TriggerDeadLetter {
			return tx.noteLetter(t, d.What.Name, reason)
		}
		l := picloud.DeadLetter{
			ID: fmt.Sprintf("%013x-%010x", tx.at, d.LSN), App: t.App, Trigger: t.Name, TriggerID: t.ID, Delivery: d.ID, LSN: d.LSN, What: d.What,
			Attempts: d.Attempts, Reason: clip(reason, maxReason), Errors: clipAll(d.Errors), CreatedAt: fromMicros(tx.at),
		}
		for w := range each(tx.catalog.triggers, pair(t.App, "")) {
			if w.Enabled && w.Kind == picloud.TriggerDeadLetter && w.Matches(t.Name) {
				l.HandledBy = append(l.HandledBy, w.ID)
			}
		}
		tx.put(tableLetter, pair(l.App, l.ID), letterRow{Letter: l, Version: 1})
		return nil
	})
}

// letterNotes bounds the notes on a dead letter.
const letterNotes = 20

func (t *tx) noteLetter(by picloud.Trigger, id, text string) error {
	l, err := t.letter(by.App, id)
	if err != nil {
		return nil //nolint:nilerr // it was purged, and nobody needs the note
	}
	l.Letter.Notes = append(l.Letter.Notes, picloud.LetterNote{At: fromMicros(t.at), Trigger: by.Name, Text: clip(text, maxReason)})
	if n := len(l.Letter.Notes); n > letterNotes {
		l.Letter.Notes = l.Letter.Notes[n-letterNotes:]
	}
	l.Version++
	t.put(tableLetter, pair(by.App, id), l)
	return nil
}

func (t *tx) letter(app, id string) (letterRow, error) {
	var l letterRow
	b := t.get(tableLetter, []byte(pair(app, id)))
	if b == nil {
		return l, picloud.ErrDeadLetterNotFound
	}
	return l, cborDecode(b, &l)
}

// DeadLetter returns a dead letter, or picloud.ErrDeadLetterNotFound.
func (s *Store) DeadLetter(app, id string) (picloud.DeadLetter, error) {
	if _, err := s.catalog.Load().app(app); err != nil {
		return picloud.DeadLetter{}, err
	}
	b := s.tables.get(tableLetter, []byte(pair(app, id)))
	if b == nil {
		return picloud.DeadLetter{}, picloud.ErrDeadLetterNotFound
	}
	var l letterRow
	err := cborDecode(b, &l)
	return l.Letter, err
}

// DeadLetters returns a page of dead letters, oldest first. Next is the id after
// which the following page begins; empty: there is none.
func (s *Store) DeadLetters(app string, f picloud.LetterFilter) (page []picloud.DeadLetter, next string, err error) {
	if _, err := s.catalog.Load().app(app); err != nil {
		return nil, "", err
	}
	limit, size := min(or(f.Limit, picloud.MaxPage), picloud.MaxPage), 0
	s.tables.scan(tableLetter, pair(app, ""), pair(app, f.After), func(_ string, v []byte) bool {
		var l letterRow
		if err = cborDecode(v, &l); err != nil {
			return false
		}
		if l.Letter.ID == f.After || !f.Selects(&l.Letter) {
			return true
		}
		if len(page) == limit || size > pageBytes {
			next = page[len(page)-1].ID
			return false
		}
		size += len(v)
		page = append(page, l.Letter)
		return true
	})
	return page, next, err
}

// maxCounted bounds how far dead letters are counted.
const maxCounted = 10_000

// CountDeadLetters returns how many dead letters there are in all apps, up to
// 10 000.
func (s *Store) CountDeadLetters() int { return s.tables.count(tableLetter, "", maxCounted) }

// Redrive makes triggers owe dead letters again, as the deliveries they were. It
// returns how many, and how many are left because their trigger is gone; when there
// are only such, that is an error. An error may come after some.
func (s *Store) Redrive(ctx context.Context, app string, f picloud.LetterFilter) (done, left int, err error) {
	did, err := s.eachLetter(ctx, app, f, func(tx *tx, l *letterRow) (bool, error) {
		t, ok := tx.catalog.triggerOf(&l.Letter)
		if !ok {
			return false, nil
		}
		l.Letter.What.Hops = 0 // somebody has looked at it
		tx.put(tableDelivery, oweKey(app, t.ID, &l.Letter.LSN), l.Letter.What)
		tx.remove(tableLetter, pair(app, l.Letter.ID))
		return true, nil
	})
	if l := did.lastLeft; err == nil && did.changed == 0 && l != nil {
		err = picloud.ErrTriggerNotFound.Detailf("the dead letter %s comes from the trigger %q of kind %s, which is gone; make it again, or purge the letter", l.ID, l.Trigger, l.What.Kind)
	}
	return did.changed, did.left, err
}

// triggerOf returns the trigger that a letter comes from, or the one that has its
// name now.
func (c *catalog) triggerOf(l *picloud.DeadLetter) (picloud.Trigger, bool) {
	for t := range each(c.triggers, pair(l.App, "")) {
		if t.ID == l.TriggerID {
			return t, true
		}
	}
	t, err := c.trigger(l.App, l.Trigger)
	return t, err == nil && t.Kind == l.What.Kind
}

// Purge removes dead letters for good, and returns how many.
func (s *Store) Purge(ctx context.Context, app string, f picloud.LetterFilter) (int, error) {
	did, err := s.eachLetter(ctx, app, f, func(tx *tx, l *letterRow) (bool, error) {
		tx.remove(tableLetter, pair(app, l.Letter.ID))
		return true, nil
	})
	return did.changed, err
}

// Backfill makes a dead_letter trigger owe the letters that are there and that it
// was never owed, and returns how many. Doing it again does nothing.
func (s *Store) Backfill(ctx context.Context, app, trigger string) (int, error) {
	t, err := s.Trigger(app, trigger)
	if err != nil {
		return 0, err
	}
	if t.Kind != picloud.TriggerDeadLetter {
		return 0, picloud.ErrTriggerInvalid.Detailf("%q is of kind %s; backfilling is for dead_letter triggers", trigger, t.Kind)
	}
	did, err := s.eachLetter(ctx, app, picloud.LetterFilter{}, func(tx *tx, l *letterRow) (bool, error) {
		if slices.Contains(l.Letter.HandledBy, t.ID) || !t.Matches(l.Letter.Trigger) {
			return false, nil
		}
		what, err := letterHappening(&l.Letter, tx.at)
		if err != nil {
			return false, err
		}
		l.Letter.HandledBy = append(l.Letter.HandledBy, t.ID)
		l.Version++
		tx.put(tableLetter, pair(app, l.Letter.ID), l)
		lsn := tx.lsn()
		tx.put(tableDelivery, oweKey(app, t.ID, &lsn), what)
		return true, nil
	})
	return did.changed, err
}

// lettersChunk bounds the dead letters that are changed in one commit.
const lettersChunk = 100

// letterCount says for how many dead letters something was done.
type letterCount struct {
	passed   int // looked at
	changed  int
	left     int
	lastLeft *picloud.DeadLetter // one for which nothing could be done; nil: there was none
}

// eachLetter does something about the letters that a filter selects, a commit at a
// time, and counts those for which fn said that it did.
func (s *Store) eachLetter(ctx context.Context, app string, f picloud.LetterFilter, fn func(tx *tx, l *letterRow) (bool, error)) (did letterCount, err error) {
	f.Limit = lettersChunk
	for {
		page, next, err := s.DeadLetters(app, f)
		if err != nil {
			return did, err
		}
		for len(page) > 0 {
			part, err := ask(ctx, s, 0, func(tx *tx) (letterCount, error) { return tx.eachLetter(page, fn) })
			if err != nil {
				return did, err
			}
			did.changed, did.left = did.changed+part.changed, did.left+part.left
			did.lastLeft = or(part.lastLeft, did.lastLeft)
			page = page[part.passed:]
		}
		if next == "" {
			return did, nil
		}
		f.After = next
	}
}

// eachLetter does it for the first letters of a page, as many as fit into a commit.
func (t *tx) eachLetter(page []picloud.DeadLetter, fn func(tx *tx, l *letterRow) (bool, error)) (did letterCount, err error) {
	for size := 0; did.passed < len(page) && size < t.s.chunk(); did.passed++ {
		l, err := t.letter(page[did.passed].App, page[did.passed].ID)
		if err != nil {
			continue // somebody else was faster
		}
		ok, err := fn(t, &l)
		if err != nil {
			return did, err
		}
		if !ok {
			did.left, did.lastLeft = did.left+1, &l.Letter
			continue
		}
		did.changed++
		size += 2*recordCost + len(l.Letter.What.Data)
	}
	return did, nil
}
