package trigger_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/dispatch"
)

// A delivery whose script loses a failure is tried again like any that fails, and becomes
// a dead letter that says what was lost. What the script wrote before stays.
func TestLostFailuresAreRetried(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	d := dispatch.NewDispatcher(dispatch.DispatcherConfig{Outbox: n.Store, Handler: n.Handler})
	n.SetDeliverer(d)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	cases := map[string]struct{ source, says, stack string }{
		"await":     {"import { kv } from 'picloud';\nasync function save(e) { await kv.increment('saved'); throw new Error('after save') }\nexport default (e) => { save(e) };", "Error: after save", "save (app:await:2:"},
		"call":      {"import { kv } from 'picloud';\nexport default () => {\n  kv.set('', 1) };", "InvalidError", "app:call:3:"},
		"loop":      {"const one = async (i) => { if (i) throw new Error('number ' + i) };\nexport default async () => { for (let i = 0; i < 3; i++) one(i) };", "Error: number 1", "app:loop:1:"},
		"chain":     {"export default () => { Promise.resolve().then(() => {}).then(() => { throw null }) };", "thrown: null", ""},
		"top":       {"Promise.reject(new TypeError('at the top'));\nexport default () => {};", "TypeError: at the top", "app:top:1:"},
		"imports":   {"import 'app:top';\nexport default () => {};", "TypeError: at the top", "app:top:1:"},
		"getter":    {"export default () => ({ get a() { throw new Error('in a getter') } });", "Error: in a getter", "app:getter:1:"},
		"aggregate": {"export default () => { Promise.any([Promise.reject(new Error('one'))]) };", "error 1 of 1: Error: one", "app:aggregate:1:"},
		"huge":      {"export default () => { Promise.reject(new Error('x'.repeat(9e6))) };", "Error: xxx", "app:huge:1:"},
	}
	for name, c := range cases {
		if _, err := n.SaveScript(t.Context(), picloud.Script{App: picloud.DefaultApp, Name: name, Source: c.source}, picloud.Precondition{}); err != nil {
			t.Fatal(err)
		}
	}
	for name := range cases {
		if _, err := n.SaveTrigger(t.Context(), picloud.Trigger{
			App: picloud.DefaultApp, Name: name, Kind: picloud.TriggerPubSub, Topic: "in", Script: name, Enabled: true,
			Timeout: time.Minute, Concurrency: 1, Retry: picloud.Retry{Attempts: 2, First: 100 * time.Millisecond, Max: 100 * time.Millisecond},
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.Publish(t.Context(), picloud.Publication{App: picloud.DefaultApp, By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "in", Data: []byte("7")}}}); err != nil {
		t.Fatal(err)
	}
	// Dead letters have no signal of their own.
	var letters []picloud.DeadLetter
	for deadline := time.Now().Add(time.Minute); len(letters) < len(cases) && time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		var err error
		if letters, _, err = n.DeadLetters(picloud.DefaultApp, picloud.LetterFilter{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(letters) != len(cases) {
		t.Fatalf("%d deliveries were given up, want %d", len(letters), len(cases))
	}
	for _, l := range letters {
		c := cases[l.Trigger]
		if l.Attempts != 2 || len(l.Errors) == 0 || !strings.Contains(l.Errors[0], c.says) {
			t.Errorf("%s: %d attempts, %.300q, want 2 and %q", l.Trigger, l.Attempts, l.Errors, c.says)
		}
		runs, err := n.Runs(picloud.DefaultApp, l.Trigger, "", 10)
		if err != nil || len(runs) != 2 {
			t.Fatalf("%s: %d runs, %v", l.Trigger, len(runs), err)
		}
		for _, r := range runs {
			if r.Outcome == picloud.RunOK || !strings.Contains(r.Error, c.says) || !strings.Contains(r.Stack, c.stack) {
				t.Errorf("%s: the record says %s, %.300s\n%s", l.Trigger, r.Outcome, r.Error, r.Stack)
			}
		}
	}
	if e, err := n.Entry(picloud.DefaultApp, "saved"); err != nil || string(e.Value) != "2" {
		t.Errorf("what was written before the failure: %s, %v", e.Value, err)
	}
}
