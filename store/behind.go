package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/btree"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

const (
	tableBehind table = 33 // app, zero byte, trigger id: from where on records are not matched yet
	tableStep   table = 34 // app, zero byte, trigger id, zero byte: the deliveries that the last step made
)

// A trigger has a number of deliveries that may wait. When it has more, it falls
// behind: a row of the catalog says from which record on nothing is enqueued for it.
// The records stay in the journal, and when there is room the committer reads on from
// there, a step at a time, and enqueues what matches the trigger as it was at each
// record. When it has come to the newest record the row goes.
//
// So a slow trigger costs the journal, which has a budget of its own, and neither
// memory nor state.db. Each step is one unit of records: a crash finds it done or not.
var behindKind = rowKind{name: "triggers that are behind", catalog: inMemory[behindRow]}

// behindRow says how far a trigger has come.
type behindRow struct {
	Next uint64       // the first record that is not matched yet
	Past []pastFilter `cbor:",omitempty"` // what the trigger was since, oldest first
}

// pastFilter is what a trigger reacted to before it was changed.
type pastFilter struct {
	Until                             uint64 // the record that changed it
	Enabled                           bool
	Topic, Prefix, Collection, Source string
}

// maxPast bounds the changes of a trigger that is behind.
const maxPast = 100

// stepKind is a step: the deliveries that it made follow from it, so that they cost
// the journal a few bytes each.
var stepKind = rowKind{
	name: "steps of triggers that are behind", data: true,
	derive: func(ch change, _ stateBefore) ([]change, error) {
		if ch.value == nil {
			return nil, nil
		}
		step, err := decodeStep(ch.value)
		out := make([]change, len(step))
		for i, d := range step {
			key := append(slices.Clip(ch.key), make([]byte, 8)...)
			binary.BigEndian.PutUint64(key[len(ch.key):], d.lsn)
			out[i] = change{table: tableWaiting, key: key, value: d.row.encode()}
		}
		return out, err
	},
}

// stepped is a delivery that a step made.
type stepped struct {
	lsn uint64
	row waitingRow
}

// What begins a step, and what a delivery in it takes beside its LSN.
const (
	stepVersion = 1
	steppedSize = waitingSize - 1
)

// encodeStep writes: version u8 · for each delivery: how much its LSN is above the one
// before (uvarint) · the row without its version.
func encodeStep(step []stepped) []byte {
	b := make([]byte, 1, 1+len(step)*(steppedSize+2))
	b[0] = stepVersion
	before := uint64(0)
	for _, d := range step {
		b = binary.AppendUvarint(b, d.lsn-before)
		b = append(b, d.row.encode()[1:]...)
		before = d.lsn
	}
	return b
}

// decodeStep reads what encodeStep wrote.
func decodeStep(b []byte) (step []stepped, err error) {
	if len(b) == 0 || b[0] != stepVersion {
		return nil, fmt.Errorf("%w: step of unknown version", errRecord)
	}
	row := make([]byte, waitingSize)
	row[0] = waitingVersion
	lsn := uint64(0)
	for b = b[1:]; len(b) > 0; {
		d, n := binary.Uvarint(b)
		if n <= 0 || len(b) < n+steppedSize || d == 0 || lsn+d < lsn {
			return nil, errRecord
		}
		lsn += d
		copy(row[1:], b[n:])
		r, err := decodeWaitingRow(row)
		if err != nil {
			return nil, err
		}
		step, b = append(step, stepped{lsn: lsn, row: r}), b[n+steppedSize:]
	}
	return step, nil
}

func (c *catalog) behind() *btree.Map[string, behindRow] { return rowsOf[behindRow](c, tableBehind) }

// isBehind reports whether records are not matched against a trigger for now.
func (c *catalog) isBehind(t *picloud.Trigger) bool {
	if c.behind().Len() == 0 {
		return false
	}
	_, is := c.behind().Get(pair(t.App, t.ID))
	return is
}

// Behind returns how many records of the journal a trigger has not come to; 0: it is
// not behind.
func (s *Store) Behind(t picloud.Trigger) uint64 {
	b, ok := s.catalog.Load().behind().Get(pair(t.App, t.ID))
	if !ok {
		return 0
	}
	return uint64(s.journal.Written()) + 1 - b.Next
}

// at returns a trigger as it was at a record.
func (b *behindRow) at(t *picloud.Trigger, lsn uint64) picloud.Trigger {
	for _, p := range b.Past {
		if lsn < p.Until {
			return picloud.Trigger{Kind: t.Kind, Enabled: p.Enabled, Topic: p.Topic, Prefix: p.Prefix, Collection: p.Collection, Source: p.Source}
		}
	}
	return *t
}

// matches reports whether something that happened concerns the trigger.
func (b *behindRow) matches(t *picloud.Trigger, m *matched) bool {
	if m.app != t.App || m.what.Kind != t.Kind || m.lsn < b.Next {
		return false
	}
	was := b.at(t, m.lsn)
	return was.Enabled && was.Matches(m.by)
}

// putTrigger stages a trigger. One that is behind keeps what it reacted to, for the
// records before.
func (t *tx) putTrigger(old, tr picloud.Trigger) error {
	key := pair(tr.App, tr.ID)
	if b, ok := t.catalog.behind().Get(key); ok {
		was := pastFilter{Until: t.lsn() + 1, Enabled: old.Enabled, Topic: old.Topic, Prefix: old.Prefix, Collection: old.Collection, Source: old.Source}
		if is := (pastFilter{Until: was.Until, Enabled: tr.Enabled, Topic: tr.Topic, Prefix: tr.Prefix, Collection: tr.Collection, Source: tr.Source}); is != was {
			if len(b.Past) == maxPast {
				return picloud.ErrTriggerInvalid.Detailf("the trigger is behind by %d records and was changed %d times since; wait until it has caught up, or delete it", t.lsn()-b.Next, maxPast)
			}
			b.Past = append(slices.Clip(b.Past), was)
			t.put(tableBehind, key, b)
		}
	}
	t.put(tableTrigger, pair(tr.App, tr.Name), tr)
	return nil
}

// holdBack lets triggers fall behind that have as many waiting deliveries as they may:
// what comes from now on in the group and after it stays in the journal.
func (s *Store) holdBack(g *group) error {
	over := s.tables.pending.overfull()
	if len(over) == 0 {
		return nil
	}
	return s.stageChanges(g, func(tx *tx) error {
		for id, app := range over {
			if _, there := tx.catalog.triggerByID(app, id); !there {
				continue
			}
			if key := pair(app, id); !tx.catalog.hasBehind(key) {
				tx.put(tableBehind, key, behindRow{Next: tx.lsn()})
			}
		}
		return nil
	})
}

func (c *catalog) hasBehind(key string) bool {
	_, ok := c.behind().Get(key)
	return ok
}

// stepBytes is how much a step reads. Between two commits there is one, or as many as
// stepTime allows: triggers have to catch up with what is published meanwhile.
const (
	stepBytes = 64 << 10
	stepTime  = 2 * time.Millisecond
)

// retryStep is how long to wait after the journal could not be read.
const retryStep = 30 * time.Second

// readOn takes steps for triggers that are behind and have room. It reports whether there
// may be more to take.
func (s *Store) readOn() (more bool, err error) {
	began := time.Now()
	for {
		if more, err = s.takeStep(); err != nil || !more || time.Since(began) >= stepTime {
			return more, err
		}
	}
}

// takeStep takes one step, unless there is none to take.
func (s *Store) takeStep() (taken bool, err error) {
	c := s.catalog.Load()
	if c.behind().Len() == 0 || s.readOnly || time.Now().Before(s.commit.stepRetry) {
		return false, nil
	}
	key, row, ok := s.nextBehind(c)
	if !ok {
		return false, nil
	}
	s.commit.steppedFor = key
	app, id, _ := strings.Cut(key, "\x00")
	t, there := c.triggerByID(app, id)
	step, next := []stepped(nil), uint64(math.MaxUint64) // of a trigger that is gone nothing is matched
	if there {
		if step, next, err = s.step(&t, &row); err != nil {
			s.log.Error("trigger stays behind", slog.String("app", app), slog.String("trigger", t.Name), slog.Any("err", err))
			s.commit.stepRetry = time.Now().Add(retryStep)
			return false, nil
		}
	}
	g := s.commit.group
	s.beginGroup(g)
	err = s.stageChanges(g, func(tx *tx) error {
		if len(step) > 0 {
			tx.change(change{table: tableStep, key: []byte(deliveryKey(app, id, nil)), value: encodeStep(step)})
		}
		if next > uint64(s.journal.Written()) { // nothing comes between: the committer is here
			tx.remove(tableBehind, key)
			return nil
		}
		row.Next = next
		for len(row.Past) > 0 && row.Past[0].Until <= next {
			row.Past = row.Past[1:]
		}
		tx.put(tableBehind, key, row)
		return nil
	})
	if err != nil {
		return false, err
	}
	before := s.journal.Written()
	err = s.commitGroup(g)
	if taken = s.journal.Written() > before; !taken { // there is no space for it
		s.commit.stepRetry = time.Now().Add(checkEvery)
	}
	return taken, err
}

// nextBehind returns the next trigger that is behind and has room for a step, in turns.
func (s *Store) nextBehind(c *catalog) (key string, row behindRow, ok bool) {
	look := func(k string, r behindRow) bool {
		if _, id, _ := strings.Cut(k, "\x00"); s.tables.pending.hasRoom(id) {
			key, row, ok = k, r, true
		}
		return !ok
	}
	c.behind().Ascend(s.commit.steppedFor+"\x00", look)
	if !ok {
		c.behind().Scan(look)
	}
	return key, row, ok
}

// step reads on for a trigger: it returns what matches, and the record to go on from.
func (s *Store) step(t *picloud.Trigger, b *behindRow) (step []stepped, next uint64, err error) {
	next, err = s.walk(b.Next, uint64(s.journal.Written()), stepBytes, func(m *matched) bool {
		if b.matches(t, m) {
			step = append(step, stepped{lsn: m.lsn, row: waitingOf(&m.what)})
		}
		return len(step) < s.tables.pending.step()
	})
	return step, next, err
}

// walk calls fn with what the records from one to another tell triggers, until it has
// read about so many bytes or fn returns false. It returns the record after the last
// that it has read. Records that cannot be read are passed over: readers of the
// history tell of them.
func (s *Store) walk(from, to uint64, bytes int, fn func(m *matched) bool) (next uint64, err error) {
	if segments := s.journal.Segments(); len(segments) > 0 {
		from = max(from, uint64(segments[0].Base))
	}
	if from > to {
		return from, nil
	}
	rd, err := s.journal.NewTailReader(journal.LSN(from))
	if err != nil {
		return from, fmt.Errorf("read on: %w", err)
	}
	defer func() { _ = rd.Close() }() // only read
	for next = from; next <= to && bytes > 0; {
		rec, err := rd.Next()
		if errors.Is(err, io.EOF) {
			return to + 1, nil
		}
		if err != nil {
			lost, rerr := rd.Resync()
			if rerr != nil {
				return next, fmt.Errorf("read on: %w", errors.Join(err, rerr))
			}
			s.log.Error("journal is damaged: records are not matched against triggers", slog.Uint64("from", next), slog.Uint64("lost", lost), slog.Any("err", err))
			next += lost
			continue
		}
		_, last := rec.Range()
		next, bytes = uint64(last)+1, bytes-len(rec.Key)-len(rec.Body)-recordCost
		m, ok, err := s.recordHappened(&rec)
		if err != nil {
			s.log.Error("record is not matched against triggers", slog.Uint64("lsn", uint64(rec.LSN)), slog.Any("err", err))
			continue
		}
		if ok && !fn(&m) {
			break
		}
	}
	return next, nil
}

// countBehind adds what triggers that are behind have below an LSN.
func (s *Store) countBehind(below uint64, lost map[string]lostRange) {
	type one struct {
		key string
		t   picloud.Trigger
		row behindRow
	}
	var list []one
	from := below
	s.catalog.Load().behind().Scan(func(key string, row behindRow) bool {
		if row.Next < below {
			app, id, _ := strings.Cut(key, "\x00")
			t, _ := s.catalog.Load().triggerByID(app, id)
			list, from = append(list, one{key, t, row}), min(from, row.Next)
			if _, waits := lost[key]; !waits {
				lost[key] = lostRange{} // it goes on behind them, whatever it loses
			}
		}
		return true
	})
	if len(list) == 0 {
		return
	}
	if _, err := s.walk(from, below-1, math.MaxInt, func(m *matched) bool {
		for i := range list {
			if o := &list[i]; o.row.matches(&o.t, m) {
				r := lost[o.key]
				r.add(m.lsn, 1)
				lost[o.key] = r
			}
		}
		return true
	}); err != nil { // what cannot be counted must go all the same
		s.log.Error("deliveries that are given up could not be counted", slog.Any("err", err))
	}
}
