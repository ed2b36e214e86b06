package script_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/script"
)

// waits is a sender that waits.
func waits() bool { return true }

// SR-2, TR-3: requests never have all places: a delivery of the same app begins at once
// behind any number of them, and so does one of another app behind those of several.
func TestDeliveriesHavePlaces(t *testing.T) {
	t.Parallel()
	release, begun := make(chan struct{}), make(chan struct{}, 100)
	s := &shelf{scripts: map[string]string{}, call: func(ctx context.Context, _ picloud.ScriptCall) (json.RawMessage, error) {
		begun <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return json.RawMessage("null"), nil
	}}
	for _, app := range []string{"a", "b", "c", "d"} {
		s.scripts[app+"/slow"] = `import { time } from "picloud"; export default async () => { await time.sleep(1); };`
		s.scripts[app+"/quick"] = `export default () => 7;`
	}
	r := newRunner(t, script.Config{Host: s, Workers: 4})
	done := make(chan error, 100)
	for i := range 60 {
		app := []string{"a", "a", "b", "c"}[i%4]
		go func() {
			_, err := r.Do(t.Context(), script.Job{App: app, Script: "slow", Sender: waits})
			done <- err
		}()
	}
	for range 3 {
		<-begun
	}
	for _, app := range []string{"a", "b", "d"} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		res, err := r.Do(ctx, script.Job{App: app, Script: "quick"})
		cancel()
		if err != nil || string(res.Output) != "7" {
			t.Errorf("a delivery of %s behind requests: %s, %v", app, res.Output, err)
		}
	}
	close(release)
	for range 60 {
		if err := <-done; err != nil && !strings.Contains(err.Error(), "wait for their turn") {
			t.Error(err)
		}
	}
}

// SR-2: a request waits for its turn for so long, in so many, and not when its sender has
// left. It has not run then, and says that it can be sent again.
func TestRequestsWaitForABoundedTime(t *testing.T) {
	t.Parallel()
	release, begun := make(chan struct{}), make(chan struct{}, 100)
	var calls atomic.Int32
	s := &shelf{scripts: map[string]string{"a/s": `import { time } from "picloud"; export default async () => { await time.sleep(1); };`}, call: func(ctx context.Context, _ picloud.ScriptCall) (json.RawMessage, error) {
		calls.Add(1)
		begun <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return json.RawMessage("null"), nil
	}}
	r := newRunner(t, script.Config{Host: s, Workers: 2, Patience: 300 * time.Millisecond})
	first := make(chan error, 1)
	go func() {
		_, err := r.Do(t.Context(), script.Job{App: "a", Script: "s", Sender: waits})
		first <- err
	}()
	<-begun
	for name, job := range map[string]script.Job{
		"waited": {App: "a", Script: "s", Sender: waits},
		"left":   {App: "a", Script: "s", Sender: func() bool { return false }},
	} {
		began := time.Now()
		res, err := r.Do(t.Context(), job)
		fault, ok := errors.AsType[*script.Error](err)
		if !ok || !fault.Unavailable() || !strings.Contains(err.Error(), name) || res.RunID != "" || time.Since(began) > 20*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(began))
		}
	}
	errs := make(chan error, 50)
	for range cap(errs) {
		go func() {
			_, err := r.Do(t.Context(), script.Job{App: "a", Script: "s", Sender: waits})
			errs <- err
		}()
	}
	full := 0
	for range cap(errs) {
		if err := <-errs; err == nil {
			t.Error("it ran")
		} else if strings.Contains(err.Error(), "32 requests to scripts of this app wait") {
			full++
		}
	}
	if full < 10 {
		t.Errorf("of %d at once %d found the line full", cap(errs), full)
	}
	close(release)
	if err := <-first; err != nil || calls.Load() != 1 {
		t.Errorf("%v, %d calls", err, calls.Load())
	}
}

// A run gets its input when its turn comes, and does not begin when that fails.
func TestInputComesWithTheTurn(t *testing.T) {
	t.Parallel()
	r := newRunner(t, script.Config{Host: &shelf{scripts: map[string]string{"a/s": `export default (n) => n + 1;`}}, Workers: 2})
	job := script.Job{App: "a", Script: "s", Begin: func(j *script.Job) error {
		j.Input = json.RawMessage("41")
		return nil
	}}
	if res, err := r.Do(t.Context(), job); err != nil || string(res.Output) != "42" {
		t.Errorf("%s, %v", res.Output, err)
	}
	job.Begin = func(*script.Job) error { return fmt.Errorf("it cannot be read") }
	_, err := r.Do(t.Context(), job)
	if fault, ok := errors.AsType[*script.Error](err); !ok || !fault.Unavailable() || !strings.Contains(err.Error(), "it cannot be read") {
		t.Errorf("%v", err)
	}
}
