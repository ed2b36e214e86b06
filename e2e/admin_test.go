package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// adminOp is one change to a node's catalog.
type adminOp struct {
	kind string // topic, no topic, key, no key, rotation
	name string // of the topic; id of the key or the signing key
	done bool   // acknowledged
}

// admin changes topics, API keys and signing keys without a pause, one after
// the other, and records what was acknowledged. All of it is in an app of its
// own.
type admin struct {
	n   *node
	key string

	mu     sync.Mutex
	ops    []adminOp
	faults []string

	runs int // how often run was called
}

const adminApp = "admin"

func newAdmin(t *testing.T, n *node) *admin {
	t.Helper()
	a := &admin{n: n, key: n.key("", "instance:admin")}
	n.do(201, nil, "POST", "/v1/apps", a.key, fmt.Sprintf(`{"name":%q}`, adminApp))
	return a
}

// run works until ctx ends or the node goes away.
func (a *admin) run(ctx context.Context) {
	const kept = 4 // topics and keys live for so many rounds
	var keys []string
	a.runs++
	for i := 0; ctx.Err() == nil; i++ {
		topic := fmt.Sprintf("t/%d/%d", a.runs, i)
		ok := a.do("topic", topic, "POST", "/topics", fmt.Sprintf(`{"name":%q,"external":true}`, topic))
		if i >= kept {
			old := fmt.Sprintf("t/%d/%d", a.runs, i-kept)
			ok = ok && a.do("no topic", old, "DELETE", "/topics/"+strings.ReplaceAll(old, "/", "%2F"), "")
		}
		ok = ok && a.do("key", "", "POST", "keys", fmt.Sprintf(`{"app":%q,"scopes":["app:read"]}`, adminApp))
		if !ok {
			return
		}
		keys = append(keys, a.last())
		if i >= kept {
			ok = a.do("no key", keys[i-kept], "DELETE", "keys/"+keys[i-kept], "")
		}
		if i%8 == 0 {
			ok = ok && a.do("rotation", "", "POST", "/signing-keys/rotate", `{"overlap_sec":0}`)
		}
		if !ok {
			return
		}
	}
}

// do makes one change. The name of what a node names itself comes with its
// answer.
func (a *admin) do(kind, name, method, path, body string) bool {
	a.mu.Lock()
	a.ops = append(a.ops, adminOp{kind: kind, name: name})
	at := len(a.ops) - 1
	a.mu.Unlock()
	url := "/v1/" + path
	if strings.HasPrefix(path, "/") {
		url = "/v1/apps/" + adminApp + path
	}
	answer, err := a.n.request(method, url, a.key, body)
	if err != nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if answer.status >= 300 {
		a.faults = append(a.faults, fmt.Sprintf("%s %s: status %d: %s", method, url, answer.status, answer.body))
		return false
	}
	if name == "" {
		var made struct{ ID string }
		if err := json.Unmarshal(answer.body, &made); err != nil || made.ID == "" {
			a.faults = append(a.faults, fmt.Sprintf("%s %s: %s", method, url, answer.body))
			return false
		}
		a.ops[at].name = made.ID
	}
	a.ops[at].done = true
	return true
}

// last returns the name that the newest change was given.
func (a *admin) last() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ops[len(a.ops)-1].name
}

// mark returns the changes so far; only the newest may not be acknowledged.
func (a *admin) mark() []adminOp {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.ops)
}

// catalog is what changes lead to.
type catalog struct {
	topics, keys []string
	current      string // signing key; empty: any
}

func after(ops []adminOp) catalog {
	var c catalog
	for _, op := range ops {
		switch op.kind {
		case "topic":
			c.topics = append(c.topics, op.name)
		case "no topic":
			c.topics = slices.DeleteFunc(c.topics, func(s string) bool { return s == op.name })
		case "key":
			c.keys = append(c.keys, op.name)
		case "no key":
			c.keys = slices.DeleteFunc(c.keys, func(s string) bool { return s == op.name })
		case "rotation":
			c.current = op.name
		}
	}
	slices.Sort(c.topics)
	slices.Sort(c.keys)
	return c
}

// readCatalog asks a node for its catalog.
func (a *admin) readCatalog(n *node) (catalog, error) {
	var c catalog
	get := func(path string, v any) error {
		answer, err := n.request("GET", path, a.key, "")
		if err != nil {
			return err
		}
		if answer.status != http.StatusOK {
			return fmt.Errorf("GET %s: status %d: %s", path, answer.status, answer.body)
		}
		return json.Unmarshal(answer.body, v)
	}
	var topics struct{ Topics []struct{ Name string } }
	var keys struct {
		Keys []struct {
			ID  string
			App *string
		}
	}
	var signing struct {
		SigningKeys []struct {
			ID      string
			Current bool
		} `json:"signing_keys"`
	}
	for path, v := range map[string]any{
		"/v1/apps/" + adminApp + "/topics": &topics, "/v1/keys": &keys, "/v1/apps/" + adminApp + "/signing-keys": &signing,
	} {
		if err := get(path, v); err != nil {
			return c, err
		}
	}
	for _, t := range topics.Topics {
		c.topics = append(c.topics, t.Name)
	}
	for _, k := range keys.Keys {
		if k.App != nil && *k.App == adminApp {
			c.keys = append(c.keys, k.ID)
		}
	}
	for _, k := range signing.SigningKeys {
		if k.Current {
			c.current = k.ID
		}
	}
	slices.Sort(c.topics)
	slices.Sort(c.keys)
	return c, nil
}

// check holds the catalog of a node against what had been acknowledged before
// the power was cut. at has the changes up to the newest that may have begun.
func (a *admin) check(n *node, acked, begun []adminOp) (faults []string) {
	got, err := a.readCatalog(n)
	if err != nil {
		return []string{err.Error()}
	}
	done := len(acked)
	for done > 0 && !acked[done-1].done {
		done--
	}
	var tried []string
	for upTo := done; upTo <= len(begun); upTo++ { // the newest may be there, or not
		want := after(begun[:upTo])
		if slices.Equal(got.topics, want.topics) && sameKeys(got.keys, want.keys) && (want.current == "" || got.current == want.current) {
			return nil
		}
		tried = append(tried, fmt.Sprintf("%+v", want))
	}
	return []string{fmt.Sprintf("after %d acknowledged changes the node has %+v, want one of %v", done, got, tried)}
}

// sameKeys compares ids. An empty one in want is of a key that was being made
// and may have any.
func sameKeys(got, want []string) bool {
	if i := slices.Index(want, ""); i >= 0 {
		want = slices.Delete(slices.Clone(want), i, i+1)
		unknown := slices.IndexFunc(got, func(id string) bool { return !slices.Contains(want, id) })
		if unknown < 0 {
			return false
		}
		got = slices.Delete(slices.Clone(got), unknown, unknown+1)
	}
	return slices.Equal(got, want)
}

// settle finds out, after the node was killed and has started again, whether
// the change took effect that was not answered any more. It returns what is
// wrong with all the others.
func (a *admin) settle() (faults []string) {
	ops := a.mark()
	if faults := a.check(a.n, ops, ops); len(faults) > 0 {
		return faults
	}
	last := len(ops) - 1
	if last < 0 || ops[last].done {
		return nil
	}
	got, err := a.readCatalog(a.n)
	if err != nil {
		return []string{err.Error()}
	}
	before, op := after(ops[:last]), ops[last]
	took := !slices.Equal(got.topics, before.topics) || !slices.Equal(got.keys, before.keys) || (before.current != "" && got.current != before.current)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !took {
		a.ops = a.ops[:last]
		return nil
	}
	switch op.kind {
	case "key":
		op.name = got.keys[slices.IndexFunc(got.keys, func(id string) bool { return !slices.Contains(before.keys, id) })]
	case "rotation":
		op.name = got.current
	}
	op.done = true
	a.ops[last] = op
	return nil
}
