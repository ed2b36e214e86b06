package script_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/script"
)

// BenchmarkRun is a run of a handler that does nothing, in a fresh engine.
func BenchmarkRun(b *testing.B) {
	for name, source := range map[string]string{
		"empty": `export default () => {}`,
		"sdk":   `import { kv } from "picloud"; export default () => kv.set("x", 1)`,
	} {
		b.Run(name, func(b *testing.B) {
			h := &shelf{scripts: map[string]string{"a/main": source}}
			h.call = nothing
			r := newRunner(b, script.Config{Host: h, Workers: 3})
			b.SetParallelism(1)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := r.Do(b.Context(), script.Job{App: "a", Script: "main"}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func nothing(context.Context, picloud.ScriptCall) (json.RawMessage, error) {
	return json.RawMessage("1"), nil
}
