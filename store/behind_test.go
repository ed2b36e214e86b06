package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// slow is a trigger with what it should be delivered and was not yet.
type slow struct {
	tr   picloud.Trigger
	owed []string
}

// first takes the first of the deliveries, which must be the one that the model says.
func (w *slow) first(t *testing.T, s *running, when string) {
	t.Helper()
	var list []picloud.Delivery
	eventually(t, fmt.Sprintf("%s: trigger %s gets %s", when, w.tr.Name, w.owed[0]), func() bool {
		var err error
		if list, err = s.deliveries(w.tr, 0, 3); err != nil {
			t.Fatal(when, err)
		}
		return len(list) > 0
	})
	for i, d := range list {
		if got := d.What.Name + " " + string(d.What.Data); i < len(w.owed) && got != w.owed[i] {
			t.Fatalf("%s: delivery %d of trigger %s is %s, want %s", when, i, w.tr.Name, got, w.owed[i])
		}
	}
	if err := s.MarkDone(t.Context(), w.tr, []uint64{list[0].LSN}); err != nil {
		t.Fatal(when, err)
	}
	w.owed = w.owed[1:]
}

// TR-2, TR-3, TR-8: triggers that are slower than what comes fall behind, and get all of
// it, once, in order, as they were when it happened: whatever is changed, deleted,
// stopped or killed meanwhile.
func TestTriggersThatFallBehindGetEverything(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(7, 11))
	clock := newTestClock()
	cfg := store.Config{Dir: t.TempDir(), Now: clock.Now, CheckpointBytes: 20_000, MaxWaiting: 8}
	s := start(t, cfg)
	triggers := map[string]*slow{}
	behind := 0
	for step := range 3000 {
		when := fmt.Sprint("step ", step)
		clock.move(time.Millisecond)
		name := fmt.Sprintf("t%d", rnd.IntN(5))
		w := triggers[name]
		switch n := rnd.IntN(40); {
		case n == 0:
			kind := []picloud.TriggerKind{picloud.TriggerPubSub, picloud.TriggerKV}[rnd.IntN(2)]
			if w != nil {
				kind = w.tr.Kind
			} else {
				w = &slow{}
				triggers[name] = w
			}
			w.tr = s.trigger(t, picloud.Trigger{Name: name, Kind: kind, Prefix: []string{"", "a", "b/"}[rnd.IntN(3)], Enabled: rnd.IntN(4) > 0})
		case n == 1 && w != nil && rnd.IntN(4) == 0:
			if err := s.DeleteTrigger(t.Context(), "default", name); err != nil {
				t.Fatal(err)
			}
			if n := s.CountDeliveries(w.tr); n != 0 || s.Behind(w.tr) != 0 {
				t.Fatalf("%s: a deleted trigger has %d deliveries and is behind by %d", when, n, s.Behind(w.tr))
			}
			delete(triggers, name)
		case n == 2 && rnd.IntN(10) == 0:
			if rnd.IntN(2) == 0 { // an orderly end
				s.stop(t)
			} else {
				flush(t, s) // what is noted softly may be lost in a crash, which is told elsewhere
				cfg.Dir = killed(t, s, cfg.Dir)
			}
			s = start(t, cfg)
		case n < 18 && w != nil && len(w.owed) > 0:
			w.first(t, s, when)
		case n >= 18:
			topic := []string{"a", "ab", "b/x", "c"}[rnd.IntN(4)]
			kind := picloud.TriggerKV
			if rnd.IntN(2) == 0 {
				kind = picloud.TriggerPubSub
				publish(t, s, "default", topic, fmt.Sprint(step))
			} else if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: topic, Value: fmt.Append(nil, step)}); err != nil {
				t.Fatal(err)
			}
			for _, w := range triggers {
				if w.tr.Enabled && w.tr.Kind == kind && strings.HasPrefix(topic, w.tr.Prefix) {
					w.owed = append(w.owed, topic+" "+fmt.Sprint(step))
				}
			}
		}
		for _, w := range triggers {
			if s.Behind(w.tr) > 0 {
				behind++
			}
			if n := s.CountDeliveries(w.tr); n > 8+1 {
				t.Fatalf("%s: %d deliveries of trigger %s wait, 8 may", when, n, w.tr.Name)
			}
		}
	}
	if behind < 500 {
		t.Errorf("triggers were behind %d times only: the test shows nothing", behind)
	}
	for _, w := range triggers {
		for len(w.owed) > 0 {
			w.first(t, s, "at the end")
		}
		eventually(t, "it has caught up", func() bool { return s.Behind(w.tr) == 0 })
		if n := s.CountDeliveries(w.tr); n != 0 {
			t.Errorf("trigger %s has %d deliveries that never happened", w.tr.Name, n)
		}
	}
}

// SR-3, SR-4: deliveries that wait hold their position and nothing else, in memory and in
// state.db, however large their data is and however many triggers it concerns.
func TestWaitingDeliveriesHoldNoData(t *testing.T) {
	t.Parallel()
	const triggers, events, size = 40, 100, 250_000
	s := start(t, store.Config{Dir: t.TempDir(), SegmentSize: 8 << 20, CheckpointAfter: time.Hour, CheckpointBytes: 1 << 40})
	list := make([]picloud.Trigger, triggers)
	for i := range list {
		list[i] = s.trigger(t, picloud.Trigger{Name: fmt.Sprint("t", i), Kind: picloud.TriggerPubSub, Enabled: true})
	}
	before := s.TableBytes()
	data := `"` + strings.Repeat("x", size) + `"`
	for range events {
		publish(t, s, "default", "big", data)
	}
	per := float64(s.TableBytes()-before) / (triggers * events)
	t.Logf("%.1f bytes of memory for each delivery", per)
	if per > 150 {
		t.Errorf("a delivery that waits takes %.0f bytes of memory, of %d that it is about", per, size)
	}
	for _, tr := range list {
		pending, err := s.Deliveries(tr, 0, events+1)
		if err != nil || len(pending) != events || s.CountDeliveries(tr) != events {
			t.Fatalf("%d deliveries wait, %v, want %d", len(pending), err, events)
		}
	}
	d, ok, err := s.deliveryAt(list[7], 41)
	if !ok || err != nil || string(d.What.Data) != data || d.What.Name != "big" {
		t.Errorf("a delivery has %d bytes, %t, %v", len(d.What.Data), ok, err)
	}
}

// deliveryAt returns one of the deliveries of a trigger by its place among them.
func (r *running) deliveryAt(tr picloud.Trigger, n int) (picloud.Delivery, bool, error) {
	list, err := r.Deliveries(tr, 0, n+1)
	if err != nil || len(list) <= n {
		return picloud.Delivery{}, false, err
	}
	return r.DeliveryAt(tr, list[n].LSN)
}

// SR-3: a delivery takes at most 135 bytes of state.db, with the space that the tree
// leaves free; what is done gives it back.
func TestWaitingDeliveriesAreSmallOnTheCard(t *testing.T) {
	t.Parallel()
	const triggers, events = 10, 9_000
	cfg := store.Config{Dir: t.TempDir()}
	s := start(t, cfg)
	list := make([]picloud.Trigger, triggers)
	for i := range list {
		list[i] = s.trigger(t, picloud.Trigger{Name: fmt.Sprint("t", i), Kind: picloud.TriggerPubSub, Enabled: true})
	}
	for range events / 100 {
		publish(t, s, "default", "x", slices.Repeat([]string{"1"}, 100)...)
	}
	s.stop(t)
	s = start(t, cfg)
	used := s.StateBytesUsed()
	per := float64(used) / (triggers * events)
	t.Logf("%.1f bytes of state.db for each delivery", per)
	if per > 135 {
		t.Errorf("a delivery that waits takes %.0f bytes of state.db", per)
	}
	for _, tr := range list {
		if err := s.DeleteTrigger(t.Context(), "default", tr.Name); err != nil {
			t.Fatal(err)
		}
	}
	s.stop(t)
	s = start(t, cfg)
	if left := s.StateBytesUsed(); left > used/20 {
		t.Errorf("%d of %d bytes are in use when all is done", left, used)
	}
}

// Promise 4, SR-3: on a full disk what makes room is accepted: deliveries are done, given
// up and tried again, triggers that are behind go on, and triggers and apps are deleted.
func TestFullDiskTakesWhatMakesRoom(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir(), MaxWaiting: 8}
	s := start(t, cfg)
	tr := s.trigger(t, picloud.Trigger{Name: "t", Kind: picloud.TriggerPubSub, Enabled: true})
	other := s.trigger(t, picloud.Trigger{Name: "other", Kind: picloud.TriggerPubSub, Enabled: true})
	w := &slow{tr: tr}
	for i := range 30 {
		publish(t, s, "default", "x", fmt.Sprint(i))
		w.owed = append(w.owed, "x "+fmt.Sprint(i))
	}
	s.stop(t)
	cfg.ReserveBytes = 1 << 60 // more than there is
	s = start(t, cfg)
	_, err := s.Publish(t.Context(), picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "x", Data: []byte("1")}}})
	if !errors.Is(err, picloud.ErrNoSpace) {
		t.Fatal("the disk is not full", err)
	}
	d, _, err := s.deliveryAt(tr, 0)
	if err != nil {
		t.Fatal(err)
	}
	d.Attempts, d.Errors = 1, []string{"broken"}
	if err := s.Postpone(t.Context(), tr, d); err != nil {
		t.Error(err)
	}
	for len(w.owed) > 0 {
		w.first(t, s, "on a full disk")
	}
	d, _, err = s.deliveryAt(other, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Bury(t.Context(), other, d, "broken"); err != nil {
		t.Error(err)
	}
	if err := s.GiveUp(t.Context(), other, []uint64{d.LSN + 1}); err != nil {
		t.Error(err)
	}
	if err := s.DeleteTrigger(t.Context(), "default", "other"); err != nil || s.CountDeliveries(other) != 0 {
		t.Errorf("%d deliveries of a deleted trigger wait, %v", s.CountDeliveries(other), err)
	}
}

// Waiting deliveries hold the journal within its budget, and no longer: what goes then is
// told by one dead letter of each trigger, whose triggers hear of it, and in counts. Others
// publish on, and get theirs (SR-3, TR-5).
func TestWaitingDeliveriesAreGivenUpByPolicyAndTold(t *testing.T) {
	t.Parallel()
	cfg := store.Config{
		Dir: t.TempDir(), SegmentSize: 64 << 10, JournalBytes: 640 << 10, CheckpointBytes: 32 << 10, MaxWaiting: 20,
		Retention: picloud.Retention{MaxEvents: 5},
	}
	s := start(t, cfg)
	fast := s.trigger(t, picloud.Trigger{Name: "fast", Kind: picloud.TriggerPubSub, Topic: "x", Enabled: true})
	stuck := s.trigger(t, picloud.Trigger{Name: "stuck", Kind: picloud.TriggerPubSub, Enabled: true})
	quiet := s.trigger(t, picloud.Trigger{Name: "quiet", Kind: picloud.TriggerKV, Enabled: true})
	dead := s.trigger(t, picloud.Trigger{Name: "dead", Kind: picloud.TriggerDeadLetter, Enabled: true})
	if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: "k", Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{} // ids of dead letters
	publishSome := func(n int) {
		t.Helper()
		for i := range n {
			publish(t, s, "default", "x", fmt.Sprintf(`"%d %s"`, i, strings.Repeat("x", 2000)))
			for _, tr := range []picloud.Trigger{fast, dead} {
				d, ok, err := s.deliveryAt(tr, 0)
				if err != nil || !ok && tr == fast {
					t.Fatalf("event %d is not delivered: %v", i, err)
				}
				if !ok {
					continue
				}
				if tr == dead {
					told[d.What.Name] = true
				}
				if err := s.MarkDone(t.Context(), tr, []uint64{d.LSN}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	publishSome(100) // 200 kB: much more than the topic keeps, and within the budget
	if n := s.GivenUp(stuck); n != 0 || s.Stats().FirstLSN != 1 {
		t.Fatalf("%d were given up within the budget, the journal begins at %d", n, s.Stats().FirstLSN)
	}
	for n := range 20 { // all that may wait: their topic has forgotten them
		if d, ok, err := s.deliveryAt(stuck, n); !ok || err != nil || !strings.HasPrefix(string(d.What.Data), fmt.Sprintf(`"%d `, n)) {
			t.Fatalf("delivery %d is %.20q, %t, %v", n, d.What.Data, ok, err)
		}
	}
	publishSome(900)
	eventually(t, "the journal is within its budget", func() bool {
		publishSome(1)
		return s.GivenUp(stuck) > 300 && s.Stats().JournalBytes <= cfg.JournalBytes+2*cfg.SegmentSize
	})
	letters, _, err := s.DeadLetters("default", picloud.LetterFilter{})
	if err != nil || len(letters) != 2 || letters[0].Trigger != "quiet" && letters[1].Trigger != "quiet" {
		t.Fatalf("%d letters, %v: %+v", len(letters), err, letters)
	}
	for _, l := range letters {
		if n := s.GivenUp(map[string]picloud.Trigger{"stuck": stuck, "quiet": quiet}[l.Trigger]); l.GivenUp != n || n == 0 || !slices.Equal(l.HandledBy, []string{dead.ID}) || !told[l.ID] {
			t.Errorf("the letter counts %d of %d: %+v", l.GivenUp, n, l)
		}
	}
	if len(told) != 2 {
		t.Errorf("the trigger of dead letters was told of %v, want each letter once", told)
	}
	if n, left, err := s.Redrive(t.Context(), "default", picloud.LetterFilter{}); n != 0 || left != 2 && err == nil {
		t.Errorf("redriving what is gone: %d done, %d left, %v", n, left, err)
	}
	lost := s.GivenUp(stuck)
	published := uint64(1000)
	if head, err := s.Head("default"); err == nil {
		published = head.Seq
	}
	cfg.Dir = killed(t, s, cfg.Dir)
	s = start(t, cfg)
	got := uint64(0)
	for {
		list, err := s.Deliveries(stuck, 0, 50)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			if s.Behind(stuck) == 0 {
				break
			}
			eventually(t, "it reads on", func() bool { return s.CountDeliveries(stuck) > 0 || s.Behind(stuck) == 0 })
			continue
		}
		for _, p := range list {
			if _, ok, err := s.DeliveryAt(stuck, p.LSN); !ok || err != nil {
				t.Fatalf("a delivery that was not given up cannot be read: %t, %v", ok, err)
			}
			got++
			if err := s.MarkDone(t.Context(), stuck, []uint64{p.LSN}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got+lost != published {
		t.Errorf("%d were delivered and %d given up, of %d", got, lost, published)
	}
	if err := s.DeleteTrigger(t.Context(), "default", "stuck"); err != nil || s.GivenUp(stuck) != 0 {
		t.Errorf("the count of a deleted trigger is %d, %v", s.GivenUp(stuck), err)
	}
}
