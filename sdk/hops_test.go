package sdk_test

import (
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/script"
)

// Every call that can set a trigger off hands on how many deliveries led to it, so
// that triggers that set each other off can be stopped.
func TestChangesCountHops(t *testing.T) {
	n := newNode(t)
	save := func(name, source string) {
		t.Helper()
		if _, err := n.SaveScript(t.Context(), picloud.Script{App: "default", Name: name, Source: source}, picloud.Precondition{}); err != nil {
			t.Fatal(err)
		}
	}
	save("handler", "export default () => 1")
	triggers := map[picloud.TriggerKind]picloud.Trigger{}
	for _, tr := range []picloud.Trigger{
		{Name: "kv", Kind: picloud.TriggerKV},
		{Name: "docs", Kind: picloud.TriggerDocs, Collection: "c"},
		{Name: "files", Kind: picloud.TriggerFiles},
		{Name: "pubsub", Kind: picloud.TriggerPubSub, Topic: "a"},
	} {
		tr.App, tr.Script, tr.Enabled = "default", "handler", true
		saved, err := n.SaveTrigger(t.Context(), tr)
		if err != nil {
			t.Fatal(err)
		}
		triggers[tr.Kind] = saved
	}
	save("changes", `import { kv, docs, files, pubsub } from "picloud";
		export default async () => {
			await kv.set("k", 1); await kv.increment("n"); await kv.delete("k");
			await docs.put("c", "d", {}); await docs.delete("c", "d");
			await files.write("f", "x"); await files.delete("f");
			await pubsub.publish("a", 1);
		}`)
	if _, err := n.runner.Do(t.Context(), script.Job{App: "default", Script: "changes", Hops: 5}); err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[picloud.TriggerKind]int{picloud.TriggerKV: 3, picloud.TriggerDocs: 2, picloud.TriggerFiles: 2, picloud.TriggerPubSub: 1} {
		deliveries, err := n.Deliveries(triggers[kind], 0, 100)
		if err != nil || len(deliveries) != want {
			t.Errorf("%s: %d deliveries, %v; want %d", kind, len(deliveries), err, want)
		}
		for _, pending := range deliveries {
			d, _, err := n.DeliveryAt(triggers[kind], pending.LSN)
			if err != nil || d.What.Hops != 5 {
				t.Errorf("%s of %q (deleted: %t) is %d hops away, want 5", kind, d.What.Name, d.What.Deleted, d.What.Hops)
			}
		}
	}
}
