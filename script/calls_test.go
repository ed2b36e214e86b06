package script_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/script"
)

// most keeps a number that goes up and down, and its maximum.
type most struct{ now, max atomic.Int64 }

func (m *most) add(n int) {
	now := m.now.Add(int64(n))
	for {
		old := m.max.Load()
		if now <= old || m.max.CompareAndSwap(old, now) {
			return
		}
	}
}

// TestCallsInFlightAreBounded makes hundreds of calls at once whose arguments and replies
// are large: all of them are answered, a few at a time.
func TestCallsInFlightAreBounded(t *testing.T) {
	t.Parallel()
	var calls, arguments, replies most
	const large = 1 << 20
	h := &shelf{call: func(ctx context.Context, c picloud.ScriptCall) (json.RawMessage, error) {
		size := 0
		for _, arg := range c.Args {
			size += len(arg)
		}
		calls.add(1)
		arguments.add(size)
		defer calls.add(-1)
		defer arguments.add(-size)
		if c.Method != "get" {
			return json.RawMessage("1"), nil
		}
		if err := c.Reserve(ctx, large); err != nil {
			return nil, err
		}
		replies.add(large)
		defer replies.add(-large)
		return json.RawMessage(`{"value":1,"updated_at":"2026-01-02T03:04:05Z"}`), nil
	}}
	res, err := once(t, h, `
import { kv } from "picloud";
export default async () => {
  const all = [];
  for (let i = 0; i < 100; i++) all.push(kv.get("large"));
  for (let i = 0; i < 30; i++) all.push(kv.set("k" + i, "y".repeat(1e5)));
  return (await Promise.all(all)).length;
}`, "")
	if err != nil || string(res.Output) != "130" || res.Calls != 130 {
		t.Errorf("%d calls, %s, %v", res.Calls, res.Output, err)
	}
	if c, a, r := calls.max.Load(), arguments.max.Load(), replies.max.Load(); c > 16 || a > 2<<20 || r > 4<<20 {
		t.Errorf("at once there were %d calls, %d bytes of arguments, %d bytes of replies, want at most 16, 2 MiB and 4 MiB", c, a, r)
	}
}

// TestCutOffWhileWaitingForRoom ends a run one of whose calls has all the room for replies,
// while others wait for it.
func TestCutOffWhileWaitingForRoom(t *testing.T) {
	t.Parallel()
	h := &shelf{scripts: map[string]string{
		"a/main":  `import { kv } from "picloud"; export default () => Promise.all(["hold", "wait", "wait"].map((k) => kv.get(k)))`,
		"a/after": `import { kv } from "picloud"; export default () => kv.get("short")`,
	}}
	h.call = func(ctx context.Context, c picloud.ScriptCall) (json.RawMessage, error) {
		if err := c.Reserve(ctx, 1<<30); err != nil {
			return nil, err
		}
		if string(c.Args[0]) == `"short"` {
			return json.RawMessage(`{"value":1,"updated_at":"2026-01-02T03:04:05Z"}`), nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	r := newRunner(t, script.Config{Host: h})
	var e *script.Error
	_, err := r.Do(t.Context(), script.Job{App: "a", Script: "main", Limits: script.Limits{Total: 300 * time.Millisecond}})
	if !errors.As(err, &e) || e.Reason != script.ReasonTime {
		t.Errorf("the run ended with %v", err)
	}
	if res, err := r.Do(t.Context(), script.Job{App: "a", Script: "after"}); err != nil || string(res.Output) != "1" {
		t.Errorf("the next one returned %s, %v", res.Output, err)
	}
}

// TestTooMuchForOneCall refuses calls whose arguments are too large, alone and together.
func TestTooMuchForOneCall(t *testing.T) {
	t.Parallel()
	res, err := once(t, &shelf{call: answering}, `
import { kv } from "picloud";
export default async () => {
  const refused = [];
  const set = (key, n) => kv.set(key, "y".repeat(n)).catch((e) => { refused.push(key + " " + e.type) });
  await set("one", 2 ** 21);
  await Promise.all(Array(12).fill(0).map((_, i) => set("of many " + i, 1e6)));
  await set("later", 1e6);
  return refused;
}`, "")
	want := `["one arguments-too-large","of many 8 arguments-too-large","of many 9 arguments-too-large","of many 10 arguments-too-large","of many 11 arguments-too-large"]`
	if err != nil || string(res.Output) != want {
		t.Errorf("%s, %v, want %s", res.Output, err, want)
	}
}
