package store

import (
	"context"
	"strings"
	"time"

	"github.com/picloud/picloud"
)

const (
	tableDelivery table = 18 // app, zero byte, trigger id, zero byte, LSN: a delivery that is not done. Follows from the journal
	tableAttempt  table = 19 // the key of a delivery: its attempts so far
	tableTick     table = 20 // app, zero byte, trigger id, zero byte: the last time that came
)

var deliveryKind = rowKind{
	name: "deliveries", data: true,
	committed: func(s *Store, ch change) {
		if s.cfg.Deliverer == nil || ch.value == nil {
			return
		}
		if id, lsn, ok := splitDeliveryKey(string(ch.key)); ok {
			s.cfg.Deliverer.Enqueued(id, lsn)
		}
	},
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

// tickRow is the last time that came for a trigger of the clock.
type tickRow struct {
	Last int64 // microseconds
	Run  bool  // a run is due for it; otherwise it was passed over
}

// Deliveries returns the deliveries of a trigger that are not done, in the order of
// the records they are about, those after an LSN.
func (s *Store) Deliveries(t picloud.Trigger, after uint64, limit int) ([]picloud.Delivery, error) {
	var list []picloud.Delivery
	var fault error
	size, from := 0, after+1
	s.tables.scan(tableDelivery, deliveryKey(t.App, t.ID, nil), deliveryKey(t.App, t.ID, &from), func(k string, v []byte) bool {
		var d picloud.Delivery
		if d, fault = decodeDelivery(t, k, v); fault != nil {
			return false
		}
		list = append(list, d)
		size += len(v)
		return len(list) < limit && size < pageBytes/4
	})
	if fault != nil {
		return nil, fault
	}
	for i := range list {
		if fault = s.addAttempts(t, &list[i]); fault != nil {
			return nil, fault
		}
	}
	return list, nil
}

// CountDeliveries counts the deliveries of a trigger that are not done, up to 10 000.
func (s *Store) CountDeliveries(t picloud.Trigger) int {
	return s.tables.count(tableDelivery, deliveryKey(t.App, t.ID, nil), maxCounted)
}

// DeliveryAt returns the delivery of a trigger at an LSN; false: it is done.
func (s *Store) DeliveryAt(t picloud.Trigger, lsn uint64) (picloud.Delivery, bool, error) {
	key := deliveryKey(t.App, t.ID, &lsn)
	b := s.tables.get(tableDelivery, []byte(key))
	if b == nil {
		return picloud.Delivery{}, false, nil
	}
	d, err := decodeDelivery(t, key, b)
	if err == nil {
		err = s.addAttempts(t, &d)
	}
	return d, err == nil, err
}

func decodeDelivery(t picloud.Trigger, key string, value []byte) (picloud.Delivery, error) {
	_, lsn, ok := splitDeliveryKey(key)
	if !ok {
		return picloud.Delivery{}, errRecord
	}
	d := picloud.Delivery{App: t.App, Trigger: t.Name, LSN: lsn}
	if err := cborDecode(value, &d.What); err != nil {
		return picloud.Delivery{}, err
	}
	d.ID = picloud.DeliveryID(t.ID, lsn, d.What.At)
	return d, nil
}

func (s *Store) addAttempts(t picloud.Trigger, d *picloud.Delivery) error {
	b := s.tables.get(tableAttempt, []byte(deliveryKey(t.App, t.ID, &d.LSN)))
	if b == nil {
		return nil
	}
	var r attemptRow
	if err := cborDecode(b, &r); err != nil {
		return err
	}
	d.Attempts, d.NotUntil, d.Errors = r.Attempts, fromMicros(r.NotUntil), r.Errors
	return nil
}

// MarkDone notes that deliveries of a trigger are done. Losing the note in a crash
// makes them happen again.
func (s *Store) MarkDone(ctx context.Context, t picloud.Trigger, lsns []uint64) error {
	return s.doSoft(ctx, func(tx *tx) error {
		for _, lsn := range lsns {
			tx.removeDelivery(deliveryKey(t.App, t.ID, &lsn))
		}
		return nil
	})
}

// removeDelivery removes a delivery, and reports whether it was there.
func (t *tx) removeDelivery(key string) bool {
	if t.get(tableDelivery, []byte(key)) == nil {
		return false
	}
	t.remove(tableDelivery, key)
	if t.get(tableAttempt, []byte(key)) != nil {
		t.remove(tableAttempt, key)
	}
	return true
}

// Postpone notes that a delivery failed and is to be tried again. Losing the note
// in a crash makes that happen sooner.
func (s *Store) Postpone(ctx context.Context, t picloud.Trigger, d picloud.Delivery) error {
	return s.doSoft(ctx, func(tx *tx) error {
		key := deliveryKey(t.App, t.ID, &d.LSN)
		if tx.get(tableDelivery, []byte(key)) != nil {
			tx.put(tableAttempt, key, attemptRow{Attempts: d.Attempts, NotUntil: micros(d.NotUntil), Errors: clipAll(d.Errors)})
		}
		return nil
	})
}

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
	return s.do(ctx, func(tx *tx) error {
		now, err := tx.catalog.trigger(t.App, t.Name)
		if err != nil || now.ID != t.ID || !now.Enabled {
			return nil //nolint:nilerr // it is gone, and nothing is due
		}
		prefix := deliveryKey(t.App, t.ID, nil)
		pending := tx.g.holdsDeliveries(t.App, t.ID) || tx.s.tables.count(tableDelivery, prefix, 1) > 0
		tx.put(tableTick, prefix, tickRow{Last: micros(due), Run: run && !pending})
		return nil
	})
}

// enqueueTick enqueues the run that a due tick of a trigger of the clock asks for.
func enqueueTick(_ *catalog, ch change, by cause) ([]change, error) {
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
