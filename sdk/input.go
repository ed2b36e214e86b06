package sdk

import (
	"encoding/json"

	"github.com/picloud/picloud"
)

// Input is what a handler gets as its first argument: what happened.
func Input(d *picloud.Delivery) map[string]any {
	w := &d.What
	in := map[string]any{"kind": w.Kind, "at": w.At.Format(picloud.TimeLayout)}
	thing := func(value string) {
		in["deleted"], in["version"] = w.Deleted, w.Version
		if !w.Deleted {
			in[value] = json.RawMessage(w.Data)
		}
	}
	switch w.Kind {
	case picloud.TriggerPubSub:
		in["topic"], in["data"], in["id"], in["source"] = w.Name, json.RawMessage(w.Data), w.Position, w.Source
	case picloud.TriggerKV:
		in["key"] = w.Name
		if thing("value"); w.Binary {
			in["value"], in["binary"] = w.Data, true // base64
		}
	case picloud.TriggerDocs:
		in["collection"], in["id"] = w.Container, w.Name
		thing("document")
	case picloud.TriggerFiles:
		in["path"] = w.Name
		thing("file")
	case picloud.TriggerDeadLetter:
		in["letter"] = json.RawMessage(w.Data)
	case picloud.TriggerCron: // the time is all there is
	}
	return in
}

// Context is what a handler gets as its second argument, and as ctx: why it runs.
// The delivery stays the same over attempts: an idempotency key.
func Context(t *picloud.Trigger, d *picloud.Delivery) map[string]any {
	return map[string]any{"trigger": t.Name, "kind": t.Kind, "delivery": d.ID, "attempt": d.Attempts + 1, "attempts": t.Retry.Attempts}
}
