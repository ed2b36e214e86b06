package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/budget"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/store"
)

// unavailableError says that a delivery was not tried.
type unavailableError struct{}

func (unavailableError) Error() string     { return "away" }
func (unavailableError) Unavailable() bool { return true }

// permanentError says that trying again does not help.
type permanentError struct{}

func (permanentError) Error() string   { return "never" }
func (permanentError) Permanent() bool { return true }

// try is one call of a handler.
type try struct {
	at      time.Time
	trigger string
	d       picloud.Delivery
}

// outbox is a real store with a dispatcher over it.
type outbox struct {
	*store.Store
	d      *dispatch.Dispatcher
	memory *budget.Budget
	stop   func()

	forget bool // do not keep tries

	mu     sync.Mutex
	tries  []try
	handle func(ctx context.Context, t picloud.Trigger, d picloud.Delivery) error
}

func (o *outbox) Handle(ctx context.Context, t picloud.Trigger, d picloud.Delivery) error {
	o.mu.Lock()
	if !o.forget {
		o.tries = append(o.tries, try{time.Now(), t.Name, d})
	}
	handle := o.handle
	o.mu.Unlock()
	if handle == nil {
		return nil
	}
	return handle(ctx, t, d)
}

// told returns the tries of a trigger so far.
func (o *outbox) told(trigger string) []try {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(o.tries), func(t try) bool { return t.trigger != trigger })
}

// open starts a node of a store and a dispatcher in a directory.
func open(t *testing.T, dir string, handle func(ctx context.Context, t picloud.Trigger, d picloud.Delivery) error) *outbox {
	t.Helper()
	return openWith(t, store.Config{Dir: dir}, handle)
}

// openAt is open with a clock of its own.
func openAt(t *testing.T, dir string, now func() time.Time) *outbox {
	t.Helper()
	return openWith(t, store.Config{Dir: dir, Now: now}, nil)
}

func openWith(t *testing.T, sc store.Config, handle func(ctx context.Context, t picloud.Trigger, d picloud.Delivery) error) *outbox {
	t.Helper()
	sc.ReserveBytes, sc.SegmentSize = -1, 512<<10
	return openSized(t, sc, handle)
}

// openSized is openWith with segments of the size that the configuration says.
func openSized(t *testing.T, sc store.Config, handle func(ctx context.Context, t picloud.Trigger, d picloud.Delivery) error) *outbox {
	t.Helper()
	st, err := store.Open(sc)
	if err != nil {
		t.Fatal(err)
	}
	o := &outbox{Store: st, handle: handle, memory: budget.New(16<<20, nil)}
	o.d = dispatch.NewDispatcher(dispatch.DispatcherConfig{Outbox: st, Handler: o, Budget: o.memory, Now: sc.Now, ClockSure: st.ClockSure})
	st.SetDeliverer(o.d)
	storeCtx, stopStore := context.WithCancel(context.Background())
	ctx, stop := context.WithCancel(context.Background())
	stored, ended := make(chan error, 1), make(chan error, 1)
	go func() { stored <- st.Run(storeCtx) }()
	go func() { ended <- o.d.Run(ctx) }()
	o.stop = sync.OnceFunc(func() {
		stop()
		err := <-ended
		stopStore()
		if err := errors.Join(err, <-stored, st.Close()); err != nil {
			t.Error(err)
		}
	})
	return o
}

// trigger makes a trigger, and the script that it runs.
func (o *outbox) trigger(t *testing.T, tr picloud.Trigger) picloud.Trigger {
	t.Helper()
	tr.App, tr.Script, tr.Enabled = "default", "s", true
	if _, err := o.SaveScript(t.Context(), picloud.Script{App: "default", Name: "s", Source: "//"}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	tr, err := o.SaveTrigger(t.Context(), tr)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func (o *outbox) publish(t *testing.T, topic string, n int) {
	t.Helper()
	for i := range n {
		time.Sleep(time.Millisecond)
		if _, err := o.Publish(t.Context(), picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: topic, Data: fmt.Append(nil, i)}}}); err != nil {
			t.Fatal(err)
		}
	}
}

func (o *outbox) set(t *testing.T, key, value string) {
	t.Helper()
	if _, err := o.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: key, Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
}

func (o *outbox) letters(t *testing.T) []picloud.DeadLetter {
	t.Helper()
	list, _, err := o.DeadLetters("default", picloud.LetterFilter{})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// inBubble runs a test over a node with a clock that waits for no goroutine.
func inBubble(t *testing.T, handle func(ctx context.Context, t picloud.Trigger, d picloud.Delivery) error, test func(t *testing.T, o *outbox)) {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := open(t, dir, handle)
		defer o.stop()
		test(t, o)
	})
}

// TR-2: one delivery for each matching trigger, in order, and nothing for what
// does not match.
func TestEveryMatchIsDeliveredOnce(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, o *outbox) {
		o.trigger(t, picloud.Trigger{Name: "door", Kind: picloud.TriggerPubSub, Topic: "door"})
		o.trigger(t, picloud.Trigger{Name: "all", Kind: picloud.TriggerPubSub})
		o.trigger(t, picloud.Trigger{Name: "keys", Kind: picloud.TriggerKV, Prefix: "a/"})
		o.publish(t, "door", 300)
		o.publish(t, "window", 2)
		o.set(t, "a/1", `{"x":1}`)
		o.set(t, "b/1", "2")
		if err := o.DeleteEntry(t.Context(), picloud.Deletion{App: "default", Name: "a/1"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		door := o.told("door")
		for i, d := range door {
			if d.d.What.Name != "door" || string(d.d.What.Data) != fmt.Sprint(i) || d.d.Attempts != 0 {
				t.Fatalf("delivery %d is %+v", i, d.d)
			}
		}
		if keys := o.told("keys"); len(door) != 300 || len(o.told("all")) != 302 || len(keys) != 2 || string(keys[0].d.What.Data) != `{"x":1}` || !keys[1].d.What.Deleted {
			t.Errorf("%d for the door, %d for all, %+v for the keys", len(door), len(o.told("all")), keys)
		}
	})
}

// TR-4, TR-5: pauses grow, the last attempt buries the delivery, and the dead_letter
// trigger's handler runs.
func TestRetriesGrowAndEnd(t *testing.T) {
	inBubble(t, func(_ context.Context, t picloud.Trigger, _ picloud.Delivery) error {
		if t.Name == "door" {
			return errors.New("broken")
		}
		return nil
	}, func(t *testing.T, o *outbox) {
		o.trigger(t, picloud.Trigger{Name: "door", Kind: picloud.TriggerPubSub, Topic: "door"})
		o.trigger(t, picloud.Trigger{Name: "dead", Kind: picloud.TriggerDeadLetter})
		o.publish(t, "door", 1)
		time.Sleep(time.Hour)
		tries := o.told("door")
		if len(tries) != 8 {
			t.Fatalf("%d attempts, want 8", len(tries))
		}
		for i := 1; i < len(tries); i++ {
			pause, full := tries[i].at.Sub(tries[i-1].at), min(time.Second<<(i-1), 5*time.Minute)
			if pause < full/2 || pause > full+time.Second/10 {
				t.Errorf("pause %d is %v, want %v to %v", i, pause, full/2, full)
			}
			if tries[i].d.ID != tries[0].d.ID || tries[i].d.Attempts != i || len(tries[i].d.Errors) != i || tries[i].d.Errors[i-1] != "broken" {
				t.Errorf("attempt %d is %+v", i, tries[i].d)
			}
		}
		dead := o.told("dead")
		if len(dead) != 1 || !strings.Contains(string(dead[0].d.What.Data), `"reason":"broken"`) || !strings.Contains(string(dead[0].d.What.Data), tries[0].d.ID) {
			t.Errorf("the handler of dead letters got %+v", dead)
		}
		if l := o.letters(t); len(l) != 1 || l[0].Attempts != 8 || l[0].Reason != "broken" || string(l[0].What.Data) != "0" {
			t.Errorf("the dead letters are %+v", l)
		}
	})
}

// TR-5: a permanent error buries at once; a dead_letter handler that fails makes no
// dead letter, and its failure is noted.
func TestDeadLetterHandlerFails(t *testing.T) {
	inBubble(t, func(_ context.Context, t picloud.Trigger, _ picloud.Delivery) error {
		if t.Name == "door" {
			return permanentError{}
		}
		return errors.New("this too")
	}, func(t *testing.T, o *outbox) {
		o.trigger(t, picloud.Trigger{Name: "door", Kind: picloud.TriggerPubSub, Topic: "door"})
		o.trigger(t, picloud.Trigger{Name: "dead", Kind: picloud.TriggerDeadLetter, Source: "door", Retry: picloud.Retry{Attempts: 3}})
		o.trigger(t, picloud.Trigger{Name: "other", Kind: picloud.TriggerDeadLetter, Source: "window"})
		o.publish(t, "door", 1)
		time.Sleep(time.Hour)
		l := o.letters(t)
		if len(o.told("door")) != 1 || len(o.told("dead")) != 3 || len(o.told("other")) != 0 || len(l) != 1 {
			t.Fatalf("%d, %d and %d tries, %d dead letters", len(o.told("door")), len(o.told("dead")), len(o.told("other")), len(l))
		}
		if len(l[0].Notes) != 1 || l[0].Notes[0].Trigger != "dead" || l[0].Notes[0].Text != "this too" {
			t.Errorf("the notes are %+v", l[0].Notes)
		}
	})
}

// TR-4: an unavailable target pauses the trigger and uses no attempt.
func TestUnavailableUsesNoAttempt(t *testing.T) {
	var back time.Time
	inBubble(t, func(context.Context, picloud.Trigger, picloud.Delivery) error {
		if time.Now().Before(back) {
			return unavailableError{}
		}
		return nil
	}, func(t *testing.T, o *outbox) {
		back = time.Now().Add(20 * time.Minute)
		tr := o.trigger(t, picloud.Trigger{Name: "door", Kind: picloud.TriggerPubSub, Topic: "door", Concurrency: 3})
		o.publish(t, "door", 50)
		time.Sleep(10 * time.Minute)
		if st, ok := o.d.Status(tr.ID); !ok || st.Error != "away" || st.Paused.IsZero() {
			t.Errorf("the status is %+v", st)
		}
		before := len(o.told("door"))
		time.Sleep(20 * time.Minute)
		tries := o.told("door")
		if before > 100 {
			t.Errorf("%d tries in ten minutes of absence", before)
		}
		last := map[string]int{}
		for _, d := range tries {
			last[d.d.ID] = d.d.Attempts
		}
		st, _ := o.d.Status(tr.ID)
		if len(last) != 50 || slices.Max(slices.Collect(values(last))) != 0 || len(o.letters(t)) != 0 || st.Done != 50 || st.Error != "" {
			t.Errorf("%d deliveries, %d dead letters, status %+v", len(last), len(o.letters(t)), st)
		}
	})
}

func values(m map[string]int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

// TR-8: a poisonous delivery holds up none of the others.
func TestPoisonBlocksNobody(t *testing.T) {
	inBubble(t, func(_ context.Context, _ picloud.Trigger, d picloud.Delivery) error {
		if string(d.What.Data) == "0" {
			return errors.New("poison")
		}
		return nil
	}, func(t *testing.T, o *outbox) {
		tr := o.trigger(t, picloud.Trigger{Name: "door", Kind: picloud.TriggerPubSub, Topic: "door"})
		o.publish(t, "door", 500)
		synctest.Wait()
		if st, _ := o.d.Status(tr.ID); st.Done != 499 || st.Waiting != 1 {
			t.Errorf("while one waits for its next attempt the status is %+v", st)
		}
	})
}

// TR-1, TR-8: in an ordered trigger what is about one thing runs one after another,
// also over failures, and other things go on meanwhile; never more run at once than
// they may.
func TestOrderIsKeptForEachKey(t *testing.T) {
	var mu sync.Mutex
	running, most := map[string]int{}, 0
	fails := map[string]int{}
	done := map[string][]string{}
	handle := func(_ context.Context, _ picloud.Trigger, d picloud.Delivery) error {
		key, value := d.What.Name, string(d.What.Data)
		mu.Lock()
		running[key]++
		all := 0
		for _, n := range running {
			all += n
		}
		most = max(most, all)
		if running[key] > 1 {
			panic("two of one key run at once")
		}
		mu.Unlock()
		time.Sleep(time.Duration(len(value)) * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		running[key]--
		if fails[key+value] < len(key)%3 {
			fails[key+value]++
			return errors.New("not yet")
		}
		done[key] = append(done[key], value)
		return nil
	}
	inBubble(t, handle, func(t *testing.T, o *outbox) {
		tr := o.trigger(t, picloud.Trigger{Name: "keys", Kind: picloud.TriggerKV, Ordered: true, Concurrency: 5})
		for i := range 400 { // most of them are of one key that keeps failing
			o.set(t, "poisoned", fmt.Sprint(i))
			if i%40 == 0 {
				for _, k := range []string{"abc", "abcdef", "ac"} {
					o.set(t, k, fmt.Sprint(i))
				}
			}
		}
		time.Sleep(400 * time.Millisecond)
		mu.Lock()
		if len(done["abc"]) != 10 {
			t.Errorf("%d of another key are done while one waits", len(done["abc"]))
		}
		mu.Unlock()
		time.Sleep(3 * time.Hour)
		st, _ := o.d.Status(tr.ID)
		if st.Done != 430 || most > 5 {
			t.Errorf("%+v, at most %d at once", st, most)
		}
		for key, list := range done {
			if !slices.IsSortedFunc(list, func(a, b string) int { return len(a)*1000 + strings.Compare(a, b) - len(b)*1000 }) {
				t.Errorf("%s: %v", key, list)
			}
		}
	})
}

// Recursion: handlers that set each other off are stopped, also those that hear of
// that and go on.
func TestCirclesAreStopped(t *testing.T) {
	var o *outbox
	ran := map[string]int{}
	var mu sync.Mutex
	handle := func(ctx context.Context, tr picloud.Trigger, d picloud.Delivery) error {
		mu.Lock()
		ran[tr.Name]++
		mu.Unlock()
		hops := d.What.Hops + 1 // as the SDK counts
		switch tr.Name {
		case "ping":
			_, err := o.SetEntry(ctx, picloud.EntryChange{App: "default", Key: "pong", Value: []byte("1"), Cause: picloud.Cause{Hops: hops}})
			return err
		default:
			_, err := o.Publish(ctx, picloud.Publication{App: "default", By: picloud.LocalOperator(), Cause: picloud.Cause{Hops: hops}, Drafts: []picloud.Draft{{Topic: "ping", Data: []byte("1")}}})
			return err
		}
	}
	times := func(name string) int {
		mu.Lock()
		defer mu.Unlock()
		return ran[name]
	}
	inBubble(t, handle, func(t *testing.T, node *outbox) {
		o = node
		o.trigger(t, picloud.Trigger{Name: "ping", Kind: picloud.TriggerPubSub, Topic: "ping"})
		o.trigger(t, picloud.Trigger{Name: "pong", Kind: picloud.TriggerKV, Prefix: "pong"})
		o.publish(t, "ping", 1)
		time.Sleep(time.Hour)
		letters := o.letters(t)
		if times("ping")+times("pong") != picloud.MaxHops+1 || len(letters) != 1 || !strings.Contains(letters[0].Reason, "set each other off") || letters[0].Attempts != 1 {
			t.Errorf("%d %d %+v", times("ping"), times("pong"), letters)
		}
		if n, _, err := o.Redrive(t.Context(), "default", picloud.LetterFilter{}); n != 1 || err != nil {
			t.Error(n, err)
		}
		time.Sleep(time.Hour)
		if times("ping")+times("pong") != 2*(picloud.MaxHops+1) {
			t.Errorf("after redriving: %d %d", times("ping"), times("pong"))
		}
		o.trigger(t, picloud.Trigger{Name: "hears", Kind: picloud.TriggerDeadLetter})
		o.publish(t, "ping", 1)
		time.Sleep(time.Hour)
		was := times("ping")
		time.Sleep(24 * time.Hour)
		if times("ping") != was || times("hears") == 0 {
			t.Errorf("%d, a day later %d; %d were heard of", was, times("ping"), times("hears"))
		}
	})
}

// TR-8: a delivery that is gone when its turn comes holds up nothing that comes
// after it.
func TestSettledMeanwhile(t *testing.T) {
	handle := func(_ context.Context, _ picloud.Trigger, d picloud.Delivery) error {
		if string(d.What.Data) == "1" {
			return errors.New("not yet")
		}
		return nil
	}
	inBubble(t, handle, func(t *testing.T, o *outbox) {
		tr := o.trigger(t, picloud.Trigger{Name: "keys", Kind: picloud.TriggerKV, Ordered: true, Retry: picloud.Retry{First: time.Minute}})
		for _, v := range []string{"1", "2", "3"} {
			o.set(t, "k", v)
		}
		time.Sleep(time.Second)
		first := o.told("keys")
		if len(first) != 1 {
			t.Fatalf("%+v", first)
		}
		if err := o.MarkDone(t.Context(), tr, []uint64{first[0].d.LSN}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		var got []string
		for _, tried := range o.told("keys") {
			got = append(got, string(tried.d.What.Data))
		}
		if fmt.Sprint(got) != "[1 2 3]" {
			t.Errorf("%v", got)
		}
	})
}

// TR-3, TR-4: what runs when the node stops is given back with no attempt used, and
// runs after the restart; what is done does not run again.
func TestStoppingGivesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := open(t, dir, func(ctx context.Context, _ picloud.Trigger, d picloud.Delivery) error {
			if string(d.What.Data) == "3" {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return nil
		})
		o.trigger(t, picloud.Trigger{Name: "door", Kind: picloud.TriggerPubSub, Topic: "door"})
		o.publish(t, "door", 6)
		synctest.Wait()
		o.stop()
		first := o.told("door")
		o = open(t, dir, nil)
		defer o.stop()
		synctest.Wait()
		again := o.told("door")
		if len(first) != 4 || len(again) != 3 || again[0].d.ID != first[3].d.ID || again[0].d.Attempts != 0 {
			t.Errorf("before the stop %+v, after it %+v", first, again)
		}
	})
}

// TR-1: a disabled trigger owes nothing new, and what it owes waits until it is
// enabled; a deleted one owes nothing.
func TestDisabledAndDeleted(t *testing.T) {
	gate := make(chan struct{})
	inBubble(t, func(ctx context.Context, _ picloud.Trigger, _ picloud.Delivery) error {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}, func(t *testing.T, o *outbox) {
		gate = make(chan struct{})
		tr := o.trigger(t, picloud.Trigger{Name: "door", Kind: picloud.TriggerPubSub, Topic: "door"})
		o.publish(t, "door", 2)
		tr.Enabled = false
		if _, err := o.SaveTrigger(t.Context(), tr); err != nil {
			t.Fatal(err)
		}
		o.publish(t, "door", 5)
		synctest.Wait()
		close(gate)
		o.trigger(t, tr)
		synctest.Wait()
		if st, _ := o.d.Status(tr.ID); st.Done != 2 {
			t.Errorf("%d deliveries after it was enabled again, want 2", st.Done)
		}
		gate = make(chan struct{})
		o.publish(t, "door", 5000)
		if err := o.DeleteTrigger(t.Context(), "default", "door"); err != nil {
			t.Fatal(err)
		}
		if owed, err := o.Deliveries(tr, 0, 10); err != nil || len(owed) != 0 {
			t.Errorf("a deleted trigger owes %d, %v", len(owed), err)
		}
	})
}

// TR-6: dead letters are delivered again as what they were, removed, and owed to
// triggers that were made after them, once.
func TestRedrivePurgeBackfill(t *testing.T) {
	broken := true
	inBubble(t, func(_ context.Context, t picloud.Trigger, _ picloud.Delivery) error {
		if t.Name == "door" && broken {
			return permanentError{}
		}
		return nil
	}, func(t *testing.T, o *outbox) {
		o.trigger(t, picloud.Trigger{Name: "door", Kind: picloud.TriggerPubSub, Topic: "door"})
		o.publish(t, "door", 250)
		synctest.Wait()
		letters := o.letters(t)
		if len(letters) != 250 {
			t.Fatalf("%d dead letters", len(letters))
		}
		o.trigger(t, picloud.Trigger{Name: "late", Kind: picloud.TriggerDeadLetter})
		for want := range 2 { // the second time there is nothing left to do
			if n, err := o.Backfill(t.Context(), "default", "late"); err != nil || (n == 0) != (want == 1) {
				t.Errorf("backfill %d: %d, %v", want, n, err)
			}
			synctest.Wait()
			if n := len(o.told("late")); n != 250 {
				t.Errorf("%d dead letters were handled", n)
			}
		}
		broken = false
		if n, left, err := o.Redrive(t.Context(), "default", picloud.LetterFilter{IDs: []string{letters[7].ID}}); n != 1 || left != 0 || err != nil {
			t.Errorf("redrive one: %d, %v", n, err)
		}
		synctest.Wait()
		if n, _, err := o.Redrive(t.Context(), "default", picloud.LetterFilter{Trigger: "door", Before: letters[200].CreatedAt}); n < 100 || n > 199 || err != nil {
			t.Errorf("redrive by filter: %d, %v", n, err)
		}
		synctest.Wait()
		tries := o.told("door")
		if again := tries[250]; again.d.ID != letters[7].Delivery || string(again.d.What.Data) != "7" || again.d.Attempts != 0 {
			t.Errorf("redriven was %+v, the letter is %+v", again.d, letters[7])
		}
		left := len(o.letters(t))
		if n, err := o.Purge(t.Context(), "default", picloud.LetterFilter{}); n != left || left+len(tries) != 500 || err != nil {
			t.Errorf("purged %d of %d after %d tries, %v", n, left, len(tries), err)
		}
		if len(o.letters(t)) != 0 {
			t.Error("dead letters are left")
		}
	})
}

// TR-6: letters whose trigger is gone do not hold up the others; only when there are
// no others is that an error. A letter has the errors of all attempts.
func TestRedriveAmongLettersOfNobody(t *testing.T) {
	inBubble(t, func(_ context.Context, _ picloud.Trigger, d picloud.Delivery) error {
		return fmt.Errorf("attempt %d", d.Attempts+1)
	}, func(t *testing.T, o *outbox) {
		for _, name := range []string{"gone", "there"} {
			o.trigger(t, picloud.Trigger{Name: name, Kind: picloud.TriggerPubSub, Topic: "door", Retry: picloud.Retry{Attempts: 3}})
		}
		o.publish(t, "door", 2)
		time.Sleep(time.Hour)
		letters := o.letters(t)
		if len(letters) != 4 || !slices.Equal(letters[0].Errors, []string{"attempt 1", "attempt 2", "attempt 3"}) {
			t.Fatalf("%d dead letters, the first says %q", len(letters), letters[0].Errors)
		}
		if err := o.DeleteTrigger(t.Context(), "default", "gone"); err != nil {
			t.Fatal(err)
		}
		if n, left, err := o.Redrive(t.Context(), "default", picloud.LetterFilter{}); n != 2 || left != 2 || err != nil {
			t.Errorf("%d redriven, %d left, %v", n, left, err)
		}
		if n, _, err := o.Redrive(t.Context(), "default", picloud.LetterFilter{}); n != 0 || !errors.Is(err, picloud.ErrTriggerNotFound) {
			t.Errorf("none is there: %d redriven, %v", n, err)
		}
	})
}
