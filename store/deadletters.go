package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

const tableDeadLetter table = 21 // app, zero byte, dead letter id

var deadLetterKind = rowKind{
	name: "dead letters", data: true, happened: deadLetterHappened,
	holds: func(u *usage, key, row []byte, sign int64) {
		r, _ := decodeAs[struct{ Dropped int64 }](row)
		u.letters.add(amountOf(key, row, 0), sign)
		u.dropped += sign * r.Dropped
	},
	copied: copies[picloud.DeadLetter]{
		as: picloud.ChangeDeadLetter,
		from: func(_ string, row []byte) (picloud.DeadLetter, error) {
			r, err := decodeAs[deadLetterRow](row)
			return r.Letter, err
		},
		check: checkDeadLetter,
		to: func(_ *restorer, l picloud.DeadLetter) ([]change, error) {
			return putOf(tableDeadLetter, pair(l.App, l.ID), deadLetterRow{Letter: l, Version: 2}), nil
		},
	},
}

// checkDeadLetter checks a letter that was not written here, and brings its data into
// compact form.
func checkDeadLetter(l *picloud.DeadLetter) error {
	if !l.What.Binary && l.What.Data != nil {
		var data bytes.Buffer
		if err := check.CompactJSON(&data, l.What.Data); err != nil {
			return err
		}
		l.What.Data = data.Bytes()
	}
	if len(l.What.Data) > maxLetterData || l.LSN == 0 || l.LSN > maxSeq {
		return picloud.ErrDataInvalid.Detailf("its data are too long, or its place is none")
	}
	return errors.Join(check.Handle("dead letter", l.ID), check.Handle("trigger", l.Trigger), check.Handle("trigger's id", l.TriggerID))
}

// maxLetterData bounds the data of a dead letter in bytes: those of an event or a
// document, or the description of another letter.
const maxLetterData = 4 * picloud.MaxValue

// deadLetterRow is a dead letter as it is kept. Its first version is delivered to
// the triggers that wait for dead letters; later ones are notes on it.
//
// Dropped counts dead letters that had to make room for this one, or for one of those.
// So the sum of all that are there is how many were dropped since an operator purged or
// redrove them.
type deadLetterRow struct {
	Letter  picloud.DeadLetter
	Version uint64
	Dropped int64 `cbor:",omitempty"`
}

// What dead letters of one app there may be. The oldest make room for a new one: to
// keep them all would stop the triggers of an app as soon as enough of its events are
// bad, and to refuse the new one would hide what goes wrong now. What was dropped is
// counted and told until the others are purged or redriven.
const (
	maxDeadLetters     = 10_000
	maxDeadLetterBytes = 64 << 20
)

// tellDropped is how often the log says that dead letters are dropped.
const tellDropped = time.Minute

// Bury gives a delivery up: it becomes a dead letter, whose deliveries to dead_letter
// triggers are there with the same commit. A delivery to such a trigger does not
// become one: its failure is noted on the dead letter it was about.
func (s *Store) Bury(ctx context.Context, t picloud.Trigger, d picloud.Delivery, reason string) error {
	return s.do(ctx, t.App, func(tx *tx) error {
		if !tx.removeDelivery(deliveryKey(t.App, t.ID, &d.LSN)) {
			return nil
		}
		if t.Kind == picloud.TriggerHTTP { // who asked learns it
			return tx.failResult(t.App, d.What.Name)
		}
		if t.Kind == picloud.TriggerDeadLetter {
			return tx.noteDeadLetter(t, d.What.Name, reason)
		}
		l := picloud.DeadLetter{
			ID: tx.letterID(t.App, d.LSN), App: t.App, Trigger: t.Name, TriggerID: t.ID, Delivery: d.ID, LSN: d.LSN, What: d.What,
			Attempts: d.Attempts, Reason: clip(reason, maxReason), Errors: clipAll(d.Errors), CreatedAt: fromMicros(tx.at),
		}
		l.HandledBy = tx.deadLetterTriggers(t)
		return tx.putDeadLetter(deadLetterRow{Letter: l, Version: 1})
	})
}

// deadLetterTriggers returns the ids of the triggers that a dead letter of a trigger is
// delivered to.
func (t *tx) deadLetterTriggers(tr picloud.Trigger) (ids []string) {
	for w := range each(t.catalog.triggers(), pair(tr.App, "")) {
		if w.Enabled && w.Kind == picloud.TriggerDeadLetter && w.Matches(tr.Name) {
			ids = append(ids, w.ID)
		}
	}
	return ids
}

// putDeadLetter keeps a dead letter, for which the oldest of its app make room.
func (t *tx) putDeadLetter(l deadLetterRow) error {
	app, key := l.Letter.App, pair(l.Letter.App, l.Letter.ID)
	var by usage
	tableDeadLetter.kind().difference(&by, change{key: []byte(key), value: cborEncode(l)}, t.get(tableDeadLetter, []byte(key)))
	over := func() bool {
		u := t.usage(app)
		return u.letters.rows+by.letters.rows > maxDeadLetters || u.letters.bytes+by.letters.bytes > maxDeadLetterBytes
	}
	before := l.Dropped
	for limit, more := 8<<10, true; more && over(); limit *= 4 {
		var keys []string
		keys, more = t.s.tables.keys(tableDeadLetter, pair(app, ""), limit)
		for _, k := range keys {
			b := t.get(tableDeadLetter, []byte(k))
			if k == key || b == nil || !over() { // nil: it has gone with the group at hand
				continue
			}
			old, err := decodeAs[struct{ Dropped int64 }](b)
			if err != nil {
				return err
			}
			l.Dropped += 1 + old.Dropped
			t.remove(tableDeadLetter, k)
		}
	}
	t.put(tableDeadLetter, key, l)
	if c := &t.s.commit; l.Dropped > before && t.at-c.toldDropped > tellDropped.Microseconds() {
		c.toldDropped = t.at
		t.s.log.Warn("oldest dead letters are dropped to make room", slog.String("app", app), slog.Int64("dropped", l.Dropped))
	}
	return nil
}

// letterID is an id that sorts by time. Several triggers may give the same change up within
// one group of commits, which has one time.
func (t *tx) letterID(app string, lsn uint64) string {
	for at := t.at; ; at++ {
		id := fmt.Sprintf("%013x-%010x", at, lsn)
		if t.get(tableDeadLetter, []byte(pair(app, id))) == nil {
			return id
		}
	}
}

// deadLetterNotes bounds the notes on a dead letter.
const deadLetterNotes = 20

func (t *tx) noteDeadLetter(by picloud.Trigger, id, text string) error {
	l, err := t.deadLetter(by.App, id)
	if err != nil {
		return nil //nolint:nilerr // it was purged, and the note is not needed
	}
	l.Letter.Notes = append(l.Letter.Notes, picloud.LetterNote{At: fromMicros(t.at), Trigger: by.Name, Text: clip(text, maxReason)})
	if n := len(l.Letter.Notes); n > deadLetterNotes {
		l.Letter.Notes = l.Letter.Notes[n-deadLetterNotes:]
	}
	l.Version++
	return t.putDeadLetter(l)
}

func (t *tx) deadLetter(app, id string) (deadLetterRow, error) {
	var l deadLetterRow
	b := t.get(tableDeadLetter, []byte(pair(app, id)))
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
	b := s.tables.get(tableDeadLetter, []byte(pair(app, id)))
	if b == nil {
		return picloud.DeadLetter{}, picloud.ErrDeadLetterNotFound
	}
	var l deadLetterRow
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
	s.tables.scan(tableDeadLetter, pair(app, ""), pair(app, f.After), func(_ string, v []byte) bool {
		var l deadLetterRow
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
func (s *Store) CountDeadLetters() int { return s.tables.count(tableDeadLetter, "", maxCounted) }

// Redrive turns dead letters into the deliveries they were again. It
// returns how many, and how many are left because their trigger is gone; when there
// are only such, that is an error. An error may come after some.
func (s *Store) Redrive(ctx context.Context, app string, f picloud.LetterFilter) (done, left int, err error) {
	did, err := s.eachDeadLetter(ctx, app, f, func(tx *tx, l *deadLetterRow) (bool, error) {
		t, ok := tx.catalog.triggerOf(&l.Letter)
		if !ok || l.Letter.GivenUp > 0 {
			return false, nil
		}
		l.Letter.What.Hops = 0 // an operator has looked at it
		tx.put(tableDelivery, deliveryKey(app, t.ID, &l.Letter.LSN), l.Letter.What)
		tx.remove(tableDeadLetter, pair(app, l.Letter.ID))
		return true, nil
	})
	if l := did.lastLeft; err == nil && did.changed == 0 && l != nil && l.GivenUp > 0 {
		err = picloud.ErrTriggerInvalid.Detailf("the dead letter %s counts deliveries whose data is gone; purge it when it has served", l.ID)
	} else if err == nil && did.changed == 0 && l != nil {
		err = picloud.ErrTriggerNotFound.Detailf("the dead letter %s comes from the trigger %q of kind %s, which is gone; make it again, or purge the letter", l.ID, l.Trigger, l.What.Kind)
	}
	return did.changed, did.left, err
}

// triggerOf returns the trigger that a letter comes from, or the one that has its
// name now.
func (c *catalog) triggerOf(l *picloud.DeadLetter) (picloud.Trigger, bool) {
	if t, ok := c.triggerByID(l.App, l.TriggerID); ok {
		return t, true
	}
	t, err := c.trigger(l.App, l.Trigger)
	return t, err == nil && t.Kind == l.What.Kind
}

// Purge removes dead letters for good, and returns how many.
func (s *Store) Purge(ctx context.Context, app string, f picloud.LetterFilter) (int, error) {
	did, err := s.eachDeadLetter(ctx, app, f, func(tx *tx, l *deadLetterRow) (bool, error) {
		tx.remove(tableDeadLetter, pair(app, l.Letter.ID))
		return true, nil
	})
	return did.changed, err
}

// Backfill enqueues for a dead_letter trigger the dead letters that it was never told
// of, and returns how many. Doing it again does nothing.
func (s *Store) Backfill(ctx context.Context, app, trigger string) (int, error) {
	t, err := s.Trigger(app, trigger)
	if err != nil {
		return 0, err
	}
	if t.Kind != picloud.TriggerDeadLetter {
		return 0, picloud.ErrTriggerInvalid.Detailf("%q is of kind %s; backfilling is for dead_letter triggers", trigger, t.Kind)
	}
	did, err := s.eachDeadLetter(ctx, app, picloud.LetterFilter{}, func(tx *tx, l *deadLetterRow) (bool, error) {
		if slices.Contains(l.Letter.HandledBy, t.ID) || !t.Matches(l.Letter.Trigger) {
			return false, nil
		}
		what, err := deadLetterHappening(&l.Letter, tx.at)
		if err != nil {
			return false, err
		}
		l.Letter.HandledBy = append(l.Letter.HandledBy, t.ID)
		l.Version++
		tx.put(tableDeadLetter, pair(app, l.Letter.ID), l)
		lsn := tx.lsn()
		tx.put(tableDelivery, deliveryKey(app, t.ID, &lsn), what)
		return true, nil
	})
	return did.changed, err
}

// deadLettersChunk bounds the dead letters that are changed in one commit.
const deadLettersChunk = 100

// deadLetterCount says for how many dead letters something was done.
type deadLetterCount struct {
	passed   int // looked at
	changed  int
	left     int
	lastLeft *picloud.DeadLetter // one for which nothing could be done; nil: there was none
}

// eachDeadLetter does something about the letters that a filter selects, a commit at a
// time, and counts those for which fn said that it did.
func (s *Store) eachDeadLetter(ctx context.Context, app string, f picloud.LetterFilter, fn func(tx *tx, l *deadLetterRow) (bool, error)) (did deadLetterCount, err error) {
	f.Limit = deadLettersChunk
	for {
		page, next, err := s.DeadLetters(app, f)
		if err != nil {
			return did, err
		}
		for len(page) > 0 {
			part, err := ask(ctx, s, configOf(app), 0, func(tx *tx) (deadLetterCount, error) { return tx.eachDeadLetter(page, fn) })
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

// eachDeadLetter does it for the first letters of a page, as many as fit into a commit.
func (t *tx) eachDeadLetter(page []picloud.DeadLetter, fn func(tx *tx, l *deadLetterRow) (bool, error)) (did deadLetterCount, err error) {
	for size := 0; did.passed < len(page) && size < t.s.chunk(); did.passed++ {
		l, err := t.deadLetter(page[did.passed].App, page[did.passed].ID)
		if err != nil {
			continue // another caller was faster
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

// deadLetterHappened tells of a new dead letter.
func deadLetterHappened(ch change, by cause) (matched, bool, error) {
	if ch.value == nil {
		return matched{}, false, nil
	}
	l, err := decodeAs[deadLetterRow](ch.value)
	if err != nil || l.Version != 1 {
		return matched{}, false, err
	}
	what, err := deadLetterHappening(&l.Letter, by.at)
	return matched{app: l.Letter.App, by: l.Letter.Trigger, lsn: by.lsn, what: what}, err == nil, err
}

// deadLetterHappening is a dead letter as a trigger is told of it.
func deadLetterHappening(l *picloud.DeadLetter, at int64) (picloud.Happening, error) {
	data, err := picloud.EncodeJSON(map[string]any{
		"id": l.ID, "trigger": l.Trigger, "delivery": l.Delivery, "what": l.What, "attempts": l.Attempts, "reason": l.Reason, "errors": l.Errors,
		"created_at": l.CreatedAt.Format(picloud.TimeLayout),
	})
	if err != nil {
		return picloud.Happening{}, fmt.Errorf("describe a dead letter: %w", err)
	}
	return picloud.Happening{Kind: picloud.TriggerDeadLetter, At: fromMicros(at), Hops: l.What.Hops, Name: l.ID, Data: data}, nil
}
