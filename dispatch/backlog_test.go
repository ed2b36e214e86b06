package dispatch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/budget"
	"github.com/picloud/picloud/store"
)

// SR-1, SR-4: large events that many triggers fail at take a few MiB of memory, however
// many wait: no more than what runs holds its data. After a restart, too.
func TestBacklogOfLargeEventsHoldsNoData(t *testing.T) {
	const triggers, events, size, limit = 40, 100, 100_000, 64 << 20
	var mu sync.Mutex
	tries, highest := 0, uint64(0)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	handle := func(context.Context, picloud.Trigger, picloud.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		if tries++; tries%200 == 0 {
			highest = max(highest, heap()-min(before, heap()))
		}
		return errors.New("broken")
	}
	sc := store.Config{Dir: t.TempDir(), ReserveBytes: -1}
	o := openReal(t, sc, handle)
	for i := range triggers {
		o.trigger(t, picloud.Trigger{Name: fmt.Sprint("t", i), Kind: picloud.TriggerPubSub, Topic: "big", Retry: picloud.Retry{First: time.Hour, Max: time.Hour}})
	}
	data := []byte(`"` + strings.Repeat("x", size) + `"`)
	for range events {
		if _, err := o.Publish(t.Context(), picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "big", Data: slices.Clone(data)}}}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all have failed once", func() bool { return o.d.Totals().Failed == triggers*events })
	o.stop()
	o = openReal(t, sc, handle)
	highest = max(highest, heap()-min(before, heap()))
	o.stop()
	t.Logf("%.1f MiB at most, for %d deliveries of %d bytes", float64(highest)/(1<<20), triggers*events, size)
	if highest > limit {
		t.Errorf("%d MiB of memory are used while %d deliveries of %d bytes wait", highest>>20, triggers*events, size)
	}
}

// openReal is openWith with the segments that a node has, and keeps no tries.
func openReal(t *testing.T, sc store.Config, handle func(ctx context.Context, t picloud.Trigger, d picloud.Delivery) error) *outbox {
	t.Helper()
	o := openSized(t, sc, handle)
	o.forget = true
	t.Cleanup(o.stop)
	return o
}

// SR-2: a delivery whose data turns out to be large runs beside a share that has no room for
// it, one at a time; small ones go on meanwhile, and the share is never overdrawn.
func TestLargeDeliveriesBesideTheShare(t *testing.T) {
	t.Parallel()
	begun, release := make(chan string, 10), make(chan struct{})
	var o *outbox
	o = openReal(t, store.Config{Dir: t.TempDir(), ReserveBytes: -1}, func(_ context.Context, tr picloud.Trigger, _ picloud.Delivery) error {
		if held, share := o.memory.Held(budget.Deliveries), o.memory.Share(budget.Deliveries); held > share {
			t.Errorf("deliveries hold %d bytes, their share is %d", held, share)
		}
		begun <- tr.Name
		if tr.Name == "large" {
			<-release
		}
		return nil
	})
	o.trigger(t, picloud.Trigger{Name: "large", Kind: picloud.TriggerPubSub, Topic: "large", Concurrency: 8})
	o.trigger(t, picloud.Trigger{Name: "small", Kind: picloud.TriggerPubSub, Topic: "small"})
	publish := func(topic string, size int) {
		t.Helper()
		data := []byte(`"` + strings.Repeat("x", size) + `"`)
		if _, err := o.Publish(t.Context(), picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: topic, Data: data}}}); err != nil {
			t.Fatal(err)
		}
	}
	began := func(want string) {
		t.Helper()
		select {
		case got := <-begun:
			if got != want {
				t.Errorf("%s has begun, want %s", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s does not begin", want)
		}
	}
	others, err := o.memory.Draw(budget.Deliveries, budget.Party{}, o.memory.Share(budget.Deliveries)-300<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer others.Release()
	for range 3 {
		publish("large", 200<<10)
	}
	for range 3 {
		began("large")
		for range 3 {
			publish("small", 10)
			began("small")
		}
		release <- struct{}{}
	}
	until(t, "all are done", func() bool { return o.d.Totals().Done == 12 })
}

// until waits for what there is no signal for.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not happen: " + what)
		}
	}
}

// TR-8, SR-4: a handler that is slower than what comes neither stops publishing nor other
// triggers. It falls behind, and gets everything once, in order for each topic, over a
// restart.
func TestSlowTriggerFallsBehindAndCatchesUp(t *testing.T) {
	t.Parallel()
	const each = 200
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		handle := func(ctx context.Context, tr picloud.Trigger, _ picloud.Delivery) error {
			if tr.Name != "slow" {
				return nil
			}
			select {
			case <-time.After(5 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		sc := store.Config{Dir: dir, MaxWaiting: 20}
		o := openWith(t, sc, handle)
		slow := o.trigger(t, picloud.Trigger{Name: "slow", Kind: picloud.TriggerPubSub, Concurrency: 2, Ordered: true, Timeout: time.Minute})
		o.trigger(t, picloud.Trigger{Name: "fast", Kind: picloud.TriggerPubSub})
		for range 2 {
			o.publish(t, "a", each/2)
			o.publish(t, "b", each/2)
			synctest.Wait()
		}
		if n := len(o.told("fast")); n != 2*each {
			t.Fatalf("the fast trigger got %d of %d", n, 2*each)
		}
		if n := o.CountDeliveries(slow); n > 21 || o.Behind(slow) == 0 {
			t.Fatalf("%d deliveries wait where 20 may, behind by %d", n, o.Behind(slow))
		}
		time.Sleep(100 * time.Second) // some of it is done
		done := o.told("slow")
		o.stop()
		o = openWith(t, sc, handle)
		defer o.stop()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := o.CountDeliveries(slow); n != 0 || o.Behind(slow) != 0 {
			t.Fatalf("%d deliveries wait for ever, behind by %d", n, o.Behind(slow))
		}
		if all, bytes := o.d.Totals(), o.memory.Held(budget.Deliveries); all.Held != 0 || bytes != 0 {
			t.Errorf("at rest %d deliveries and %d bytes are held", all.Held, bytes)
		}
		got := map[string][]string{}
		seen := map[string]bool{}
		for _, tr := range append(done, o.told("slow")...) {
			if !seen[tr.d.ID] { // what was cut off by the end runs again
				seen[tr.d.ID] = true
				got[tr.d.What.Name] = append(got[tr.d.What.Name], string(tr.d.What.Data))
			}
		}
		var want []string
		for range 2 {
			for i := range each / 2 {
				want = append(want, fmt.Sprint(i))
			}
		}
		for _, topic := range []string{"a", "b"} {
			if !slices.Equal(got[topic], want) {
				t.Errorf("topic %s was delivered as %v", topic, got[topic])
			}
		}
	})
}

// TR-8: a delivery whose record cannot be read is given up and told, and holds up none of
// the others, ordered or not.
func TestDeliveryOfDamagedRecordIsGivenUp(t *testing.T) {
	t.Parallel()
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprintf("ordered %t", ordered), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			o := openWith(t, store.Config{Dir: dir}, nil)
			defer o.stop()
			tr := o.trigger(t, picloud.Trigger{Name: "t", Kind: picloud.TriggerPubSub, Ordered: ordered})
			o.mu.Lock() // holds up the handler
			for i := range 6 {
				if _, err := o.Publish(t.Context(), picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "x", Data: fmt.Appendf(nil, `"event %d"`, i)}}}); err != nil {
					t.Fatal(err)
				}
			}
			damage(t, dir, []byte(`"event 3"`))
			o.mu.Unlock()
			until(t, "everything is done", func() bool { return o.CountDeliveries(tr) == 0 })
			var got []string
			for _, try := range o.told("t") {
				got = append(got, string(try.d.What.Data))
			}
			if want := []string{`"event 0"`, `"event 1"`, `"event 2"`, `"event 4"`, `"event 5"`}; !slices.Equal(got, want) {
				t.Errorf("delivered were %v", got)
			}
			if letters := o.letters(t); o.GivenUp(tr) != 1 || len(letters) != 1 || letters[0].GivenUp != 1 || letters[0].Trigger != "t" {
				t.Errorf("%d are given up; told by %+v", o.GivenUp(tr), letters)
			}
		})
	}
}

// damage changes a byte of what the journal has, where it has some text.
func damage(t *testing.T, dir string, text []byte) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "journal", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		i := bytes.Index(b, text)
		if i < 0 {
			continue
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err == nil {
			_, err = f.WriteAt([]byte{b[i+1] ^ 1}, int64(i+1))
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("%q is not in the journal", text)
}

// SR-1, SR-2: deliveries that run hold no more than their share, in the name of their app,
// and those of another app begin meanwhile.
func TestRunningDeliveriesStayWithinTheirShare(t *testing.T) {
	release := make(chan struct{})
	begun := make(chan string, 1000)
	o := openReal(t, store.Config{Dir: t.TempDir(), ReserveBytes: -1}, func(ctx context.Context, tr picloud.Trigger, _ picloud.Delivery) error {
		begun <- tr.App
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil
	})
	defer o.stop()
	if _, err := o.CreateApp(t.Context(), picloud.App{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		o.trigger(t, picloud.Trigger{Name: fmt.Sprint("t", i), Kind: picloud.TriggerPubSub, Topic: "big", Concurrency: 8})
	}
	if _, err := o.SaveScript(t.Context(), picloud.Script{App: "other", Name: "s", Source: "export default 1"}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.SaveTrigger(t.Context(), picloud.Trigger{App: "other", Name: "t", Kind: picloud.TriggerPubSub, Topic: "big", Script: "s", Enabled: true}.WithDefaults()); err != nil {
		t.Fatal(err)
	}
	data := []byte(`"` + strings.Repeat("x", 100_000) + `"`)
	publish := func(app string, n int) {
		for range n {
			if _, err := o.Publish(t.Context(), picloud.Publication{App: app, By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "big", Data: slices.Clone(data)}}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish("default", 20)
	<-begun
	publish("other", 1)
	for app := ""; app != "other"; {
		select {
		case app = <-begun:
		case <-time.After(time.Minute):
			t.Fatal("the other app has no turn")
		}
		if held, share := o.memory.Held(budget.Deliveries), o.memory.Share(budget.Deliveries); held > share {
			t.Errorf("they hold %d bytes, their share is %d", held, share)
		}
	}
	close(release)
	until(t, "all are done", func() bool { return o.d.Totals().Done == 30*20+1 })
	if held := o.memory.Held(budget.Deliveries); held != 0 {
		t.Errorf("%d bytes are held at rest", held)
	}
}
