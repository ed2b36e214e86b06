package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

func (r *running) trigger(t *testing.T, tr picloud.Trigger) picloud.Trigger {
	t.Helper()
	tr.App, tr.Script = "default", "s"
	if _, err := r.SaveScript(t.Context(), picloud.Script{App: "default", Name: "s", Source: "//"}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	tr, err := r.SaveTrigger(t.Context(), tr)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// deliveries returns deliveries of a trigger that are not done, with their data.
func (r *running) deliveries(tr picloud.Trigger, after uint64, limit int) ([]picloud.Delivery, error) {
	list, err := r.Deliveries(tr, after, limit)
	out := make([]picloud.Delivery, len(list))
	for i := range list {
		if err == nil {
			out[i], _, err = r.DeliveryAt(tr, list[i].LSN)
		}
	}
	return out, err
}

// owed returns the ids and names of what a trigger owes.
func (r *running) owed(t *testing.T, tr picloud.Trigger) []string {
	t.Helper()
	var all []string
	after := uint64(0)
	for {
		list, err := r.deliveries(tr, after, 7)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return all
		}
		for _, d := range list {
			all = append(all, fmt.Sprintf("%s %s %s %d %s", d.ID, d.What.Name, d.What.Data, d.Attempts, d.Errors))
			after = d.LSN
		}
	}
}

// TR-2, TR-3: what is owed is what the changes and the triggers of their time say,
// in every layer rows lie in, after orderly and sudden ends.
func TestOwedEqualsAModel(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 5))
	clock := newTestClock()
	cfg := store.Config{Dir: t.TempDir(), Now: clock.Now, CheckpointBytes: 20_000}
	s := start(t, cfg)
	triggers := map[string]picloud.Trigger{}
	model := map[string][]string{} // by trigger: topic or key, and value
	check := func(when string) {
		t.Helper()
		for name, tr := range triggers {
			var got []string
			for _, line := range s.owed(t, tr) {
				fields := strings.Fields(line)
				got = append(got, fields[1]+" "+fields[2])
			}
			if !slices.Equal(got, model[name]) {
				t.Fatalf("%s: trigger %s owes\n%v, want\n%v", when, name, got, model[name])
			}
		}
	}
	for step := range 3000 {
		clock.move(time.Millisecond)
		name := fmt.Sprintf("t%d", rnd.IntN(6))
		switch tr, there := triggers[name], triggers[name].ID != ""; rnd.IntN(24) {
		case 0:
			kind := []picloud.TriggerKind{picloud.TriggerPubSub, picloud.TriggerKV}[rnd.IntN(2)]
			if there {
				kind = tr.Kind
			}
			triggers[name] = s.trigger(t, picloud.Trigger{Name: name, Kind: kind, Prefix: []string{"", "a", "b/"}[rnd.IntN(3)], Enabled: rnd.IntN(4) > 0})
		case 1:
			if there && rnd.IntN(4) == 0 {
				if err := s.DeleteTrigger(t.Context(), "default", name); err != nil {
					t.Fatal(err)
				}
				delete(triggers, name)
				delete(model, name)
			}
		case 2, 3, 4, 5, 6, 7:
			if !there || len(model[name]) == 0 {
				continue
			}
			list, err := s.deliveries(tr, 0, 50)
			if err != nil {
				t.Fatal(err)
			}
			i := rnd.IntN(len(list))
			if err := s.MarkDone(t.Context(), tr, []uint64{list[i].LSN}); err != nil {
				t.Fatal(err)
			}
			model[name] = slices.Delete(slices.Clone(model[name]), i, i+1)
		case 8:
			if rnd.IntN(10) > 0 {
				continue
			}
			if rnd.IntN(2) == 0 { // an orderly end
				s.stop(t)
			} else {
				flush(t, s) // what is noted softly may be lost in a crash, which is told elsewhere
				cfg.Dir = killed(t, s, cfg.Dir)
			}
			s = start(t, cfg)
			check(fmt.Sprint("step ", step))
		default:
			topic := []string{"a", "ab", "b/x", "c"}[rnd.IntN(4)]
			kind := picloud.TriggerKV
			if rnd.IntN(2) == 0 {
				kind = picloud.TriggerPubSub
				publish(t, s, "default", topic, fmt.Sprint(step))
			} else if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: topic, Value: fmt.Append(nil, step)}); err != nil {
				t.Fatal(err)
			}
			for n, tr := range triggers {
				if tr.Enabled && tr.Kind == kind && strings.HasPrefix(topic, tr.Prefix) {
					model[n] = append(model[n], topic+" "+fmt.Sprint(step))
				}
			}
		}
	}
	check("at the end")
}

// killed returns what a node leaves that was killed.
func killed(t *testing.T, s *running, dir string) string {
	t.Helper()
	left := copyDir(t, dir)
	s.stop(t)
	return left
}

// flush makes everything durable that was committed before.
func flush(t *testing.T, s *running) {
	t.Helper()
	if err := s.SetNote(t.Context(), "flush", []byte{1}); err != nil {
		t.Fatal(err)
	}
}

// TR-3: the id of a delivery and what is known of its attempts outlast an end.
func TestAttemptsOutlastAnEnd(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir()}
	s := start(t, cfg)
	tr := s.trigger(t, picloud.Trigger{Name: "t", Kind: picloud.TriggerPubSub, Enabled: true})
	publish(t, s, "default", "x", "1")
	list, err := s.deliveries(tr, 0, 10)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	d := list[0]
	d.Attempts, d.NotUntil, d.Errors = 3, time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond), []string{"bad", "broken"}
	if err := s.Postpone(t.Context(), tr, d); err != nil {
		t.Fatal(err)
	}
	flush(t, s)
	cfg.Dir = killed(t, s, cfg.Dir)
	s = start(t, cfg)
	again, ok, err := s.DeliveryAt(tr, d.LSN)
	if err != nil || !ok || again.ID != d.ID || again.Attempts != 3 || !again.NotUntil.Equal(d.NotUntil) || !slices.Equal(again.Errors, d.Errors) {
		t.Errorf("after the end %+v, %v, want %+v", again, err, d)
	}
}

// How many deliveries led to a change is known after an end, so that circles are found
// over restarts.
func TestHopsOutlastAnEnd(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir()}
	s := start(t, cfg)
	tr := s.trigger(t, picloud.Trigger{Name: "e", Kind: picloud.TriggerPubSub, Enabled: true})
	kv := s.trigger(t, picloud.Trigger{Name: "k", Kind: picloud.TriggerKV, Enabled: true})
	by := picloud.Cause{Hops: 7}
	_, err := s.Publish(t.Context(), picloud.Publication{App: "default", By: picloud.LocalOperator(), Cause: by, Drafts: []picloud.Draft{{Topic: "x", Data: []byte("1")}}})
	if err == nil {
		_, err = s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: "x", Value: []byte("1"), Cause: by})
	}
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dir = killed(t, s, cfg.Dir)
	s = start(t, cfg)
	for _, tr := range []picloud.Trigger{tr, kv} {
		if list, err := s.deliveries(tr, 0, 2); err != nil || len(list) != 1 || list[0].What.Hops != 7 || string(list[0].What.Data) != "1" {
			t.Errorf("after an end trigger %s has %+v, %v", tr.Name, list, err)
		}
	}
}

// TR-5: the dead letter and what dead_letter triggers owe for it are there together,
// whatever happens next.
func TestBuryIsOneCommit(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir()}
	s := start(t, cfg)
	tr := s.trigger(t, picloud.Trigger{Name: "t", Kind: picloud.TriggerPubSub, Enabled: true})
	dead := s.trigger(t, picloud.Trigger{Name: "dead", Kind: picloud.TriggerDeadLetter, Enabled: true})
	publish(t, s, "default", "x", "1")
	list, err := s.deliveries(tr, 0, 10)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if err := s.Bury(t.Context(), tr, list[0], "broken"); err != nil {
		t.Fatal(err)
	}
	cfg.Dir = killed(t, s, cfg.Dir)
	s = start(t, cfg)
	letters, _, err := s.DeadLetters("default", picloud.LetterFilter{})
	if err != nil || len(letters) != 1 || letters[0].Reason != "broken" || letters[0].Delivery != list[0].ID || !slices.Equal(letters[0].HandledBy, []string{dead.ID}) {
		t.Fatalf("dead letters %+v, %v", letters, err)
	}
	if owed := s.owed(t, dead); len(owed) != 1 || !strings.Contains(owed[0], letters[0].ID) {
		t.Errorf("the dead_letter trigger owes %v", owed)
	}
	if owed := s.owed(t, tr); len(owed) != 0 {
		t.Errorf("what was given up is still owed: %v", owed)
	}
	if err := s.Bury(t.Context(), tr, list[0], "again"); err != nil {
		t.Fatal(err)
	}
	if letters, _, err = s.DeadLetters("default", picloud.LetterFilter{}); err != nil || len(letters) != 1 {
		t.Errorf("burying it again makes %d dead letters, %v", len(letters), err)
	}
}

// Many triggers give up the same event at the same time: each has its dead letter.
func TestBuryingTogetherLosesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir()})
	triggers := make([]picloud.Trigger, 50)
	for i := range triggers {
		triggers[i] = s.trigger(t, picloud.Trigger{Name: fmt.Sprint("t", i), Kind: picloud.TriggerPubSub, Enabled: true})
	}
	publish(t, s, "default", "x", "1")
	var group sync.WaitGroup
	for _, tr := range triggers {
		list, err := s.deliveries(tr, 0, 10)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		group.Go(func() {
			if err := s.Bury(t.Context(), tr, list[0], "broken"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	letters, _, err := s.DeadLetters("default", picloud.LetterFilter{})
	if err != nil || len(letters) != len(triggers) {
		t.Errorf("%d dead letters of %d deliveries that were given up, %v", len(letters), len(triggers), err)
	}
}

// An app that is deleted takes its triggers, and what they owe and failed at, along;
// one that is made later under its name has none of it.
func TestDeletedAppOwesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir()})
	make2 := func() picloud.Trigger {
		if _, err := s.CreateApp(t.Context(), picloud.App{Name: "shop"}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.SaveScript(t.Context(), picloud.Script{App: "shop", Name: "s", Source: "//"}, picloud.Precondition{}); err != nil {
			t.Fatal(err)
		}
		tr, err := s.SaveTrigger(t.Context(), picloud.Trigger{App: "shop", Name: "t", Kind: picloud.TriggerKV, Script: "s", Enabled: true})
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	tr := make2()
	for i := range 30 {
		if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "shop", Key: fmt.Sprint(i), Value: []byte("1")}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.owed(t, tr)); n != 30 {
		t.Fatalf("%d are owed", n)
	}
	if err := s.DeleteApp(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	if n := len(s.owed(t, tr)); n != 0 {
		t.Errorf("a deleted app owes %d", n)
	}
	if again := make2(); again.ID == tr.ID || len(s.owed(t, again)) != 0 {
		t.Errorf("a new app of the name has the trigger %s and owes %v", again.ID, s.owed(t, again))
	}
}
