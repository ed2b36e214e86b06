package store

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/picloud/picloud"
)

const (
	tableDelivery table = 18 // app, zero byte, trigger id, zero byte, LSN: a delivery that is not done and holds its data
	tableAttempt  table = 19 // the key of a delivery: its attempts so far
	tableTick     table = 20 // app, zero byte, trigger id, zero byte: the last time that came
)

// A delivery that the journal does not make holds its data: one that was redriven or
// backfilled, a tick, a request that is answered later, and what versions before format
// 2 have made. Removing one removes a position in its place as well.
var deliveryKind = rowKind{
	name: "deliveries", data: true, committed: tellDelivery,
	derive: func(ch change, e stateBefore) ([]change, error) {
		if ch.value != nil || e.get(tableWaiting, ch.key) == nil {
			return nil, nil
		}
		return []change{{table: tableWaiting, key: ch.key}}, nil
	},
}

// tellDelivery lets the deliverer know of a new delivery.
func tellDelivery(s *Store, ch change) {
	if s.cfg.Deliverer == nil || ch.value == nil {
		return
	}
	if id, lsn, ok := splitDeliveryKey(string(ch.key)); ok {
		s.cfg.Deliverer.Enqueued(id, lsn)
	}
}

var attemptKind = rowKind{name: "attempts", data: true}

var tickKind = rowKind{name: "ticks", data: true, enqueue: enqueueTick}

// Deliverer is told of deliveries. Its methods never block, never fail, and
// are called in order by one goroutine.
type Deliverer interface {
	// Enqueued says that a trigger, by its id, has a delivery for a record.
	Enqueued(trigger string, lsn uint64)
	// TriggersChanged says that triggers were made, changed or deleted.
	TriggersChanged()
}

// SetDeliverer sets who is told of deliveries. Call it before Run.
func (s *Store) SetDeliverer(d Deliverer) { s.cfg.Deliverer = d }

// attemptRow says how often a delivery was tried in vain. Times are microseconds.
type attemptRow struct {
	Attempts int
	NotUntil int64
	Errors   []string // of the last of them
}

// notUntil returns when the next attempt is due; zero: at once.
func (r *attemptRow) notUntil() time.Time {
	if r.NotUntil == 0 {
		return time.Time{}
	}
	return fromMicros(r.NotUntil)
}

// tickRow is the last time that came for a trigger of the clock.
type tickRow struct {
	Last int64 // microseconds
	Run  bool  // a run is due for it; otherwise it was passed over
}

// Deliveries returns deliveries of a trigger that are not done, in the order of the
// records they are about, those after an LSN.
func (s *Store) Deliveries(t picloud.Trigger, after uint64, limit int) ([]picloud.Pending, error) {
	counts := s.tables.pending.of(t.ID)
	var list []picloud.Pending
	through := uint64(math.MaxUint64)
	add := func(tb table, orderIn func(row []byte) (uint32, error)) (fault error) {
		from, size, n := after+1, 0, 0
		s.tables.scan(tb, deliveryKey(t.App, t.ID, nil), deliveryKey(t.App, t.ID, &from), func(k string, v []byte) bool {
			var d picloud.Pending
			_, d.LSN, _ = splitDeliveryKey(k)
			if n == limit || size > pageBytes/4 {
				through = min(through, d.LSN-1)
				return false
			}
			n, size = n+1, size+len(v)
			d.Order, fault = orderIn(v)
			list = append(list, d)
			return fault == nil
		})
		return fault
	}
	if counts.waiting > 0 {
		if err := add(tableWaiting, func(b []byte) (uint32, error) { r, err := decodeWaitingRow(b); return r.order, err }); err != nil {
			return nil, err
		}
	}
	if counts.kept > 0 {
		err := add(tableDelivery, func(b []byte) (uint32, error) {
			what, err := decodeAs[picloud.Happening](b)
			return orderOf(&what), err
		})
		if err != nil {
			return nil, err
		}
		slices.SortFunc(list, func(a, b picloud.Pending) int { return cmp.Compare(a.LSN, b.LSN) })
		list = slices.CompactFunc(list, func(a, b picloud.Pending) bool { return a.LSN == b.LSN })
	}
	list = slices.DeleteFunc(list, func(d picloud.Pending) bool { return d.LSN > through })
	for i := range list {
		if counts.tried == 0 {
			break
		}
		r, err := s.attempts(t, list[i].LSN)
		if err != nil {
			return nil, err
		}
		list[i].NotUntil = r.notUntil()
	}
	return list, nil
}

// CountDeliveries counts the deliveries of a trigger that are not done.
func (s *Store) CountDeliveries(t picloud.Trigger) int {
	c := s.tables.pending.of(t.ID)
	return c.waiting + c.kept
}

// CountAllDeliveries counts the deliveries of all triggers that are not done.
func (s *Store) CountAllDeliveries() (n int) {
	for _, c := range s.tables.pending.all() {
		n += c.waiting + c.kept
	}
	return n
}

// DeliveryAt returns the delivery of a trigger at an LSN, with its data; false: it is
// done. An error that is picloud.ErrDeliveryGone says that its data is gone for good:
// GiveUp is all that remains.
func (s *Store) DeliveryAt(t picloud.Trigger, lsn uint64) (picloud.Delivery, bool, error) {
	d := picloud.Delivery{App: t.App, Trigger: t.Name, LSN: lsn}
	ok, err := s.addHappening(t, &d)
	if !ok || err != nil {
		return picloud.Delivery{}, false, err
	}
	d.ID = picloud.DeliveryID(t.ID, lsn, d.What.At)
	if s.tables.pending.of(t.ID).tried == 0 {
		return d, true, nil
	}
	r, err := s.attempts(t, lsn)
	d.Attempts, d.NotUntil, d.Errors = r.Attempts, r.notUntil(), r.Errors
	return d, err == nil, err
}

// addHappening fills in what a delivery is about; false: it is done.
func (s *Store) addHappening(t picloud.Trigger, d *picloud.Delivery) (ok bool, err error) {
	key, counts := []byte(deliveryKey(t.App, t.ID, &d.LSN)), s.tables.pending.of(t.ID)
	if counts.kept > 0 {
		if b := s.tables.get(tableDelivery, key); b != nil {
			return true, cborDecode(b, &d.What)
		}
	}
	if counts.waiting == 0 {
		return false, nil
	}
	b := s.tables.get(tableWaiting, key)
	if b == nil {
		return false, nil
	}
	row, err := decodeWaitingRow(b)
	if err == nil {
		d.What, err = s.happening(d.LSN, row)
	}
	return true, err
}

// attempts returns what is known of the attempts of a delivery.
func (s *Store) attempts(t picloud.Trigger, lsn uint64) (r attemptRow, err error) {
	if b := s.tables.get(tableAttempt, []byte(deliveryKey(t.App, t.ID, &lsn))); b != nil {
		err = cborDecode(b, &r)
	}
	return r, err
}

// MarkDone notes that deliveries of a trigger are done. Losing the note in a crash
// makes them happen again.
func (s *Store) MarkDone(ctx context.Context, t picloud.Trigger, lsns []uint64) error {
	return s.doSoft(ctx, t.App, func(tx *tx) error {
		for _, lsn := range lsns {
			tx.removeDelivery(deliveryKey(t.App, t.ID, &lsn))
		}
		return nil
	})
}

// removeDelivery removes a delivery, and reports whether it was there.
func (t *tx) removeDelivery(key string) bool {
	if !t.isPending(key) {
		return false
	}
	t.remove(tableDelivery, key)
	if t.mayHave(tableAttempt, key) && t.get(tableAttempt, []byte(key)) != nil {
		t.remove(tableAttempt, key)
	}
	return true
}

// isPending reports whether a delivery is not done.
func (t *tx) isPending(key string) bool {
	return t.get(tableWaiting, []byte(key)) != nil || t.mayHave(tableDelivery, key) && t.get(tableDelivery, []byte(key)) != nil
}

// mayHave reports whether there may be a row of a delivery: none is known to be when its
// trigger has no such rows and the group stages none. It saves looking into state.db.
func (t *tx) mayHave(tb table, key string) bool {
	if t.s.tables.pending.any(tb, key) {
		return true
	}
	_, staged := t.g.staged(tb, []byte(key))
	return staged || slices.ContainsFunc(t.changes, func(c change) bool { return c.table == tb })
}

// Postpone notes that a delivery failed and is to be tried again. Losing the note
// in a crash makes that happen sooner.
func (s *Store) Postpone(ctx context.Context, t picloud.Trigger, d picloud.Delivery) error {
	return s.doSoft(ctx, t.App, func(tx *tx) error {
		key, errs := deliveryKey(t.App, t.ID, &d.LSN), clipAll(d.Errors)
		if len(errs) > 1 && s.tables.pending.of(t.ID).waiting > manyWaiting {
			errs = errs[len(errs)-1:]
		}
		if tx.isPending(key) {
			tx.put(tableAttempt, key, attemptRow{Attempts: d.Attempts, NotUntil: micros(d.NotUntil), Errors: errs})
		}
		return nil
	})
}

// manyWaiting is from how many waiting deliveries of a trigger on only the newest error
// of each is kept: all of them would be many times as large as the positions.
const manyWaiting = 1000

// What is kept of the error that decided, and of each of those before.
const (
	maxReason = 2048
	maxError  = 256
)

func clip(text string, limit int) string {
	return strings.ToValidUTF8(text[:min(len(text), limit)], "")
}

func clipAll(texts []string) []string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = clip(t, maxError)
	}
	return out
}

// LastTick returns the last time that came for a trigger of the clock; zero: none
// has.
func (s *Store) LastTick(t picloud.Trigger) (time.Time, error) {
	b := s.tables.get(tableTick, []byte(deliveryKey(t.App, t.ID, nil)))
	if b == nil {
		return time.Time{}, nil
	}
	var r tickRow
	if err := cborDecode(b, &r); err != nil {
		return time.Time{}, err
	}
	return fromMicros(r.Last), nil
}

// Tick notes that a time has come for a trigger of the clock, and enqueues a run
// if run says so, unless one is pending.
func (s *Store) Tick(ctx context.Context, t picloud.Trigger, due time.Time, run bool) error {
	return s.do(ctx, t.App, func(tx *tx) error {
		now, err := tx.catalog.trigger(t.App, t.Name)
		if err != nil || now.ID != t.ID || !now.Enabled {
			return nil //nolint:nilerr // it is gone, and nothing is due
		}
		prefix := deliveryKey(t.App, t.ID, nil)
		pending := tx.g.holdsDeliveries(t.App, t.ID) || tx.s.CountDeliveries(t) > 0
		tx.put(tableTick, prefix, tickRow{Last: micros(due), Run: run && !pending})
		return nil
	})
}

// enqueueTick enqueues the run that a due tick of a trigger of the clock asks for.
func enqueueTick(ch change, by cause) ([]change, error) {
	app, id, _ := strings.Cut(strings.TrimSuffix(string(ch.key), "\x00"), "\x00")
	var r tickRow
	if ch.value == nil {
		return nil, nil
	}
	if err := cborDecode(ch.value, &r); err != nil || !r.Run {
		return nil, err
	}
	return putOf(tableDelivery, deliveryKey(app, id, &by.lsn), picloud.Happening{Kind: picloud.TriggerCron, At: fromMicros(r.Last)}), nil
}
