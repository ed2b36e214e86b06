package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"
)

// keyLoad is one writer of keys, and a record of what it was told. What it
// writes to a key only ever rises.
type keyLoad struct {
	mu    sync.Mutex
	step  int
	acked map[string]int // key → newest value that was acknowledged
	begun map[string]int // key → newest value that was asked for
}

// counterKey is incremented, all others are set.
const counterKey = "counter"

// loadedKeys is more than fit between two checkpoints of a small store.
const loadedKeys = 300

func newKeyLoad() *keyLoad {
	return &keyLoad{acked: map[string]int{}, begun: map[string]int{}}
}

// run writes until ctx ends.
func (k *keyLoad) run(ctx context.Context, l *load) {
	for ctx.Err() == nil {
		k.mu.Lock()
		k.step++
		step := k.step
		method, key, body := "PUT", fmt.Sprintf("key-%d", step%loadedKeys), fmt.Sprint(step)
		path := key
		if step%3 == 0 {
			method, key, path, body = "POST", counterKey, counterKey+"/increment", ""
			step = k.begun[key] + 1
		}
		k.begun[key] = step
		k.mu.Unlock()
		a, err := l.n.request(method, "/v1/apps/default/kv/"+path, l.key, body)
		switch {
		case err != nil || a.status == http.StatusServiceUnavailable:
			pause(ctx, 5*time.Millisecond)
			continue
		case a.status != http.StatusOK:
			l.faultf("%s %s: status %d: %s", method, path, a.status, a.body)
			continue
		}
		if key == counterKey {
			var e struct{ Value int }
			if err := json.Unmarshal(a.body, &e); err != nil {
				l.faultf("answer to an increment: %v: %s", err, a.body)
				continue
			}
			step = e.Value
		}
		k.mu.Lock()
		k.acked[key] = step
		k.mu.Unlock()
	}
}

func (k *keyLoad) told() map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.acked)
}

func (k *keyLoad) asked() map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.begun)
}

// check holds the keys of a node against what had been told before they are
// read, and what had been begun when they were.
func (k *keyLoad) check(n *node, key string, told map[string]int, begun func() map[string]int) (faults []string) {
	a, err := n.request("GET", "/v1/apps/default/kv?limit=1000", key, "")
	var page struct {
		Entries []struct {
			Key   string
			Value int
		}
	}
	if err != nil || a.status != http.StatusOK || json.Unmarshal(a.body, &page) != nil {
		return []string{fmt.Sprintf("the keys cannot be listed: %d %s (%v)", a.status, a.body, err)}
	}
	found, asked := map[string]int{}, begun()
	for _, e := range page.Entries {
		found[e.Key] = e.Value
		if e.Value > asked[e.Key] || (e.Key != counterKey && e.Value%loadedKeys != asked[e.Key]%loadedKeys) {
			faults = append(faults, fmt.Sprintf("key %s is %d, which was never asked for: the newest was %d", e.Key, e.Value, asked[e.Key]))
		}
	}
	for name, value := range told {
		if found[name] < value {
			faults = append(faults, fmt.Sprintf("key %s was acknowledged as %d and is %d", name, value, found[name]))
		}
	}
	return faults
}
