package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Whatever was acknowledged is delivered, though the node and its workers are killed
// again and again: every delivery ran at least once or is a dead letter with its
// reason, none is about something that was never asked for, and what handlers wrote
// equals a model. (TR-2, TR-3, TR-5, SC-2)
func TestOwedUnderCrashes(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	key := n.key("", "instance:admin")
	const source = `
import { kv, docs } from "picloud";
export default async function work(event, ctx) {
	if (event.data.i % 7 === 0) throw new Error("poison " + event.data.i);
	await docs.put("work", String(event.data.i), { i: event.data.i, square: event.data.i ** 2 });
	await kv.increment("ran/" + event.data.i);
}
export async function documents(event) { await kv.set("doc/" + event.id, event.document); }
export async function dead(event) { await kv.set("dead/" + event.letter.what.data.i, event.letter.reason); }
export async function keys(event) { await kv.set("seen" + event.key.slice(3), event.value); }
`
	if _, errs, code := n.run(source, "scripts", "push", "--name", "work", "-"); code != 0 {
		t.Fatal(errs)
	}
	n.cli("triggers", "set", "work", "--kind", "pubsub", "--topic", "work", "--script", "work", "--attempts", "4", "--retry-first", "100ms", "--concurrency", "3")
	n.cli("triggers", "set", "documents", "--kind", "docs", "--collection", "work", "--script", "work", "--export", "documents", "--ordered", "--concurrency", "2")
	n.cli("triggers", "set", "dead", "--kind", "dead_letter", "--script", "work", "--export", "dead")
	n.cli("triggers", "set", "keys", "--kind", "kv", "--prefix", "ran/", "--script", "work", "--export", "keys", "--ordered")

	var mu sync.Mutex
	acked, asked, next := []int{}, map[int]bool{}, 0
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 2 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				next++
				i := next
				asked[i] = true
				mu.Unlock()
				a, err := n.request("POST", "/v1/apps/default/topics/work/events", key, fmt.Sprintf(`{"i":%d}`, i))
				if err == nil && a.status == 201 {
					mu.Lock()
					acked = append(acked, i)
					mu.Unlock()
				}
				pause(t.Context(), 40*time.Millisecond)
			}
		})
	}
	rounds, workers := howOften(t, "PICLOUD_E2E_ROUNDS", 12), 0
	for round := range rounds {
		pause(t.Context(), time.Duration(50+rand.IntN(300))*time.Millisecond)
		for _, pid := range childrenOf(n.process().cmd.Process.Pid) {
			if rand.IntN(2) == 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
				workers++
			}
		}
		pause(t.Context(), time.Duration(rand.IntN(200))*time.Millisecond)
		n.kill()
		n.start()
		if t.Failed() {
			t.Fatalf("in round %d\n%s", round, n.process().log)
		}
	}
	close(stop)
	load.Wait()

	list := func(prefix string) map[string]json.RawMessage {
		t.Helper()
		all, path := map[string]json.RawMessage{}, "/v1/apps/default/kv?limit=1000&prefix="+prefix
		for path != "" {
			var page struct {
				Entries []struct {
					Key   string
					Value json.RawMessage
				}
				Next *string
			}
			n.do(200, &page, "GET", path, key, "")
			for _, e := range page.Entries {
				all[strings.TrimPrefix(e.Key, prefix)] = e.Value
			}
			if path = ""; page.Next != nil {
				path = *page.Next
			}
		}
		return all
	}
	var triggers struct {
		Triggers []struct {
			Name   string
			Status struct{ Running, Waiting int }
		}
	}
	var quiet time.Time
	until(t, "nothing is owed any more", func() bool {
		n.do(200, &triggers, "GET", "/v1/apps/default/triggers", key, "")
		for _, tr := range triggers.Triggers {
			if tr.Status.Running+tr.Status.Waiting > 0 {
				quiet = time.Time{}
			}
		}
		if quiet.IsZero() {
			quiet = time.Now()
		}
		return time.Since(quiet) > time.Second
	})
	ran, docs, dead, seen := list("ran/"), list("doc/"), list("dead/"), list("seen/")
	// The last attempt may have been one of those whose worker was killed.
	given := func(i int, reason string) bool {
		return strings.Contains(reason, "worker died") || (i%7 == 0 && reason == fmt.Sprintf("Error: poison %d", i))
	}
	for _, i := range acked {
		name := strconv.Itoa(i)
		if reason := dead[name]; reason != nil || i%7 == 0 {
			if !given(i, strings.Trim(string(reason), `"`)) {
				t.Errorf("the dead letter about %d says %s", i, reason)
			}
			continue
		}
		if string(docs[name]) != fmt.Sprintf(`{"i":%d,"square":%d}`, i, i*i) || ran[name] == nil || string(seen[name]) != string(ran[name]) {
			t.Errorf("%d: ran %s times, which was seen as %s; its document was seen as %s", i, ran[name], seen[name], docs[name])
		}
	}
	for _, what := range []map[string]json.RawMessage{ran, docs, dead, seen} {
		for name := range what {
			if i, err := strconv.Atoi(name); err != nil || !asked[i] {
				t.Errorf("something ran for %q, which nobody asked for", name)
			}
		}
	}
	var letters struct {
		DeadLetters []struct {
			Reason string
			What   struct{ Data struct{ I int } }
		} `json:"dead_letters"`
	}
	n.do(200, &letters, "GET", "/v1/apps/default/dead-letters?limit=1000", key, "")
	about := []int{}
	for _, l := range letters.DeadLetters {
		about = append(about, l.What.Data.I)
		if !given(l.What.Data.I, l.Reason) {
			t.Errorf("the dead letter about %d gives the reason %q", l.What.Data.I, l.Reason)
		}
	}
	slices.Sort(about)
	if len(slices.Compact(slices.Clone(about))) != len(about) || len(about) != len(dead) {
		t.Errorf("%d dead letters, of which %d were handled: %v", len(about), len(dead), about)
	}
	t.Logf("%d rounds, %d workers killed: %d events acknowledged, %d runs, %d dead letters", rounds, workers, len(acked), len(ran), len(about))
	if len(acked) < 50 || workers == 0 {
		t.Error("the load did nothing: this run proves nothing")
	}
}

// childrenOf lists the processes that a process has started.
func childrenOf(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range lists {
		b, _ := os.ReadFile(file)
		for f := range strings.FieldsSeq(string(b)) {
			if child, err := strconv.Atoi(f); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}
