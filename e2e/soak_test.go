package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// soakTime is how long TestSoak works.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	s := os.Getenv("PICLOUD_E2E_SOAK")
	if s == "" {
		return 12 * time.Second
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("PICLOUD_E2E_SOAK: %v", err)
	}
	return d
}

// A node that works at full speed for long keeps its memory and descriptors:
// events, batches and telemetry over segments, checkpoints and drops, streams
// that come and go or do not read, topics and keys made and deleted.
func TestSoak(t *testing.T) {
	n := newNode(t, smallStore...)
	n.plain = true
	n.start()
	a := newAdmin(t, n)
	for _, body := range []string{`{"name":"s","external":true,"auth_mode":"public"}`, `{"name":"fast","external":true,"auth_mode":"public","durability":"telemetry"}`} {
		n.do(201, nil, "POST", "/v1/apps/default/topics", a.key, body)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soakTime(t))
	defer cancel()
	var wg sync.WaitGroup
	post := func(path, body string) {
		wg.Go(func() {
			for ctx.Err() == nil {
				if answer, err := n.request("POST", path, a.key, body); err == nil && answer.status != 201 {
					t.Errorf("%s: %d %s", path, answer.status, answer.body)
					return
				}
			}
		})
	}
	pad := strings.Repeat("x", 200)
	post("/v1/apps/default/topics/s/events", fmt.Sprintf(`{"pad":%q}`, pad))
	post("/v1/apps/default/topics/fast/events", fmt.Sprintf(`{"pad":%q}`, pad))
	post("/v1/apps/default/events", "["+strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`{"topic":"s","data":{"pad":%q}},`, pad), 20), ",")+"]")
	for i := range 12 {
		wg.Go(func() {
			for ctx.Err() == nil {
				life, leave := context.WithTimeout(ctx, time.Duration(rand.IntN(2000))*time.Millisecond)
				s, err := openStream(life, n.url+"/v1/apps/default/events?topic=s&topic=fast", "")
				if err == nil && i%4 != 0 { // every fourth does not read
					for range s.frames {
					}
				}
				<-life.Done()
				leave()
			}
		})
	}
	wg.Go(func() { a.run(ctx) })
	var memory []float64
	var files []int
	for every := soakTime(t) / 60; ctx.Err() == nil; pause(ctx, every) {
		memory = append(memory, n.rss(t)/(1<<20))
		fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", n.process().cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, len(fds))
	}
	wg.Wait()
	third := len(memory) / 3
	early, late := slices.Sorted(slices.Values(memory[third:2*third])), slices.Sorted(slices.Values(memory[2*third:]))
	t.Logf("memory in the second third %.1f to %.1f MiB, in the last %.1f to %.1f; at most %d descriptors; %d changes",
		early[0], early[len(early)-1], late[0], late[len(late)-1], slices.Max(files), len(a.mark()))
	if late[len(late)/2] > 1.25*early[len(early)/2]+2 {
		t.Errorf("memory grows: %.1f", memory)
	}
	if slices.Max(files) > 100 {
		t.Errorf("descriptors grow: %d", files)
	}
	for _, f := range a.faults {
		t.Error(f)
	}
}
