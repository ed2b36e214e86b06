package store_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/store"
)

// DO-1: documents are what a random walk of changes makes of a map, and what
// queries find is what looking at the map finds, with indexes and without, while
// they come and go, in every layer rows lie in, after orderly and sudden ends.
func TestDocumentsEqualAModel(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(11, 13))
	clock := newTestClock()
	cfg := store.Config{Dir: t.TempDir(), Now: clock.Now, CheckpointBytes: 30_000}
	s := start(t, cfg)
	model, indexes := map[string]picloud.Document{}, 0
	value := func() any {
		long := strings.Repeat("ä", 130)
		return []any{
			nil, true, false, 1, -1, 0, 2.5, 1e300, -3, "", "a", "ab", "b\x00c", "b", long + "x", long + "y",
			map[string]any{"x": 1},
			[]any{1},
			rnd.IntN(50), fmt.Sprint("n", rnd.IntN(50)),
		}[rnd.IntN(20)]
	}
	object := func(depth int) map[string]any {
		o := map[string]any{}
		for _, f := range []string{"a", "b", `q"\n`} {
			if rnd.IntN(4) > 0 {
				o[f] = value()
			}
		}
		if depth > 0 && rnd.IntN(3) > 0 {
			o["sub"] = map[string]any{"c": value(), "a": 1}
		}
		return o
	}
	put := func(id string) {
		old, there := model[id]
		c := picloud.DocumentChange{App: "default", Collection: "c", ID: id, Merge: there && rnd.IntN(2) == 0}
		body := object(1)
		if c.Merge {
			body["b"] = nil // gone
		}
		c.Body, _ = json.Marshal(body)
		switch rnd.IntN(5) {
		case 0:
			c.If.Version = old.Version
		case 1:
			c.If.Absent = true
		}
		d, err := s.PutDocument(t.Context(), c)
		if c.If.Absent && there {
			if !errors.Is(err, picloud.ErrPrecondition) {
				t.Fatalf("a document that is there was made: %v", err)
			}
			return
		}
		if err != nil || d.Version <= old.Version || (there && !d.CreatedAt.Equal(old.CreatedAt)) {
			t.Fatalf("put %s: %+v, %v", c.Body, d, err)
		}
		want := c.Body
		if c.Merge {
			want = mergeModel(t, old.Body, c.Body)
		}
		if !sameJSON(d.Body, want) {
			t.Fatalf("%s with %s is %s, want %s", old.Body, c.Body, d.Body, want)
		}
		model[id] = d
	}
	for step := range 4000 {
		clock.move(1000)
		id := fmt.Sprint("d", rnd.IntN(150))
		switch rnd.IntN(40) {
		case 0: // a collection with other indexes
			fields := slices.DeleteFunc([]string{"a", "b", "sub.c", `q"\n`, "none"}, func(string) bool { return rnd.IntN(2) == 0 })
			if _, err := s.SaveCollection(t.Context(), picloud.Collection{App: "default", Name: "c", Indexes: fields}); err != nil {
				t.Fatal(err)
			}
			indexes = len(fields)
		case 1:
			if rnd.IntN(8) > 0 {
				continue
			}
			if rnd.IntN(2) == 0 {
				s.stop(t)
			} else {
				flush(t, s)
				cfg.Dir = killed(t, s, cfg.Dir)
			}
			s = start(t, cfg)
			if rows := s.IndexRows(); rows != indexes*len(model) {
				t.Fatalf("step %d: %d rows of %d indexes over %d documents", step, rows, indexes, len(model))
			}
		case 2, 3, 4:
			_, there := model[id]
			if err := s.DeleteDocument(t.Context(), picloud.Deletion{App: "default", Container: "c", Name: id}); errors.Is(err, picloud.ErrDocumentNotFound) == there {
				t.Fatalf("delete %s: %v", id, err)
			}
			delete(model, id)
		case 5, 6, 7, 8:
			checkQuery(t, s, rnd, model, value)
		default:
			put(id)
		}
	}
}

// checkQuery holds what a random query finds, page by page, against the model.
func checkQuery(t *testing.T, s *running, rnd *rand.Rand, model map[string]picloud.Document, value func() any) {
	t.Helper()
	fields := []string{"a", "b", "sub.c", `q"\n`, "none"}
	where := map[string]any{}
	for range rnd.IntN(3) {
		v := value()
		switch v.(type) {
		case map[string]any, []any:
			continue
		}
		f := fields[rnd.IntN(len(fields))]
		ops := map[string]any{}
		switch v := v.(type) {
		case string:
			ops[[]string{"prefix", "gt", "lte", "eq"}[rnd.IntN(4)]] = v
		case int, float64:
			ops["gte"] = v
			if rnd.IntN(2) == 0 {
				ops["lt"] = rnd.IntN(60)
			}
		}
		if len(ops) == 0 {
			where[f] = v
		} else {
			where[f] = ops
		}
	}
	raw, _ := json.Marshal(where)
	conditions, err := check.Where(raw)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	q := picloud.DocumentQuery{App: "default", Collection: "c", Where: conditions, Descending: rnd.IntN(2) == 0, Limit: 1 + rnd.IntN(40)}
	if rnd.IntN(2) == 0 {
		q.Sort = fields[rnd.IntN(len(fields))]
	}
	var want []string
	for id, d := range model {
		if !slices.ContainsFunc(conditions, func(c picloud.Condition) bool { return !meets(t, c, d.Body) }) {
			want = append(want, id)
		}
	}
	slices.SortFunc(want, func(a, b string) int {
		order := strings.Compare(a, b)
		if q.Sort != "" {
			order = cmp.Or(rank(at(t, model[a].Body, q.Sort), at(t, model[b].Body, q.Sort)), order)
		}
		if q.Descending {
			return -order
		}
		return order
	})
	var got []string
	for pages := 0; ; pages++ {
		page, err := s.FindDocuments(q)
		if err != nil || len(page.Documents) > q.Limit || pages > 200 {
			t.Fatalf("%s: %d documents, %v", raw, len(page.Documents), err)
		}
		for _, d := range page.Documents {
			if !bytes.Equal(d.Body, model[d.ID].Body) || d.Version != model[d.ID].Version {
				t.Fatalf("%s finds %+v, want %+v", raw, d, model[d.ID])
			}
			got = append(got, d.ID)
		}
		if page.Next == "" {
			break
		}
		q.After = page.Next
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%s sorted by %q (down: %v) finds\n%v, want\n%v", raw, q.Sort, q.Descending, got, want)
	}
}

// at is the value of a field by the long way; nothing: it is missing.
func at(t *testing.T, body []byte, path string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(path, ".") {
		o, ok := v.(map[string]any)
		if !ok {
			return missing
		}
		if v, ok = o[part]; !ok {
			return missing
		}
	}
	return v
}

type nothing struct{}

var missing = nothing{}

func typeRank(v any) int {
	switch v := v.(type) {
	case nothing:
		return 0
	case nil:
		return 1
	case bool:
		if !v {
			return 2
		}
		return 3
	case float64:
		return 4
	case string:
		return 5
	}
	return 6
}

func rank(a, b any) int {
	if c := cmp.Compare(typeRank(a), typeRank(b)); c != 0 {
		return c
	}
	switch a := a.(type) {
	case float64:
		return cmp.Compare(a, b.(float64)) //nolint:forcetypeassert // of the same rank
	case string:
		clip := func(s string) string { return s[:min(len(s), 256)] }
		return strings.Compare(clip(a), clip(b.(string))) //nolint:forcetypeassert // as above
	}
	return 0
}

func meets(t *testing.T, c picloud.Condition, body []byte) bool {
	t.Helper()
	v := at(t, body, c.Field)
	if c.Value == nil {
		return typeRank(v) < 2
	}
	if c.Op == picloud.OpPrefix {
		text, ok := v.(string)
		return ok && strings.HasPrefix(text, c.Value.(string)) //nolint:forcetypeassert // was checked
	}
	if typeRank(v) != typeRank(c.Value) {
		return false
	}
	order := 0
	switch v := v.(type) {
	case float64:
		order = cmp.Compare(v, c.Value.(float64)) //nolint:forcetypeassert // of the same rank
	case string:
		order = strings.Compare(v, c.Value.(string)) //nolint:forcetypeassert // as above
	}
	return map[picloud.Op]bool{
		picloud.OpEqual: order == 0, picloud.OpGreater: order > 0, picloud.OpGreaterOrEqual: order >= 0, picloud.OpLess: order < 0, picloud.OpLessOrEqual: order <= 0,
	}[c.Op]
}

func mergeModel(t *testing.T, doc, patch []byte) []byte {
	t.Helper()
	var a, b any
	if err := errors.Join(json.Unmarshal(doc, &a), json.Unmarshal(patch, &b)); err != nil {
		t.Fatal(err)
	}
	var merge func(a, b any) any
	merge = func(a, b any) any { // as RFC 7396 writes it down
		changes, ok := b.(map[string]any)
		if !ok {
			return b
		}
		o, ok := a.(map[string]any)
		if !ok {
			o = map[string]any{}
		}
		o = maps.Clone(o)
		for k, v := range changes {
			if v == nil {
				delete(o, k)
			} else {
				o[k] = merge(o[k], v)
			}
		}
		return o
	}
	out, err := json.Marshal(merge(a, b))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameJSON(a, b []byte) bool {
	var x, y any
	if errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)) != nil {
		return false
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return bytes.Equal(p, q)
}

// An index over many documents is built between other commits, and goes on after a
// sudden end; a collection that is deleted takes everything along.
func TestIndexesOfManyDocuments(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir(), CheckpointBytes: 100_000}
	s := start(t, cfg)
	const n = 3000
	for i := range n {
		if _, err := s.PutDocument(t.Context(), picloud.DocumentChange{App: "default", Collection: "c", Body: fmt.Appendf(nil, `{"i":%d}`, i)}); err != nil {
			t.Fatal(err)
		}
	}
	find := func(i float64) picloud.DocumentPage {
		t.Helper()
		page, err := s.FindDocuments(picloud.DocumentQuery{App: "default", Collection: "c", Where: []picloud.Condition{{Field: "i", Op: picloud.OpEqual, Value: i}}})
		if err != nil || len(page.Documents) != 1 {
			t.Fatalf("%d documents, %v", len(page.Documents), err)
		}
		return page
	}
	if page := find(1234); page.Examined != n {
		t.Errorf("%d documents were looked at without an index", page.Examined)
	}
	if _, err := s.SaveCollection(t.Context(), picloud.Collection{App: "default", Name: "c", Indexes: []string{"i"}}); err != nil {
		t.Fatal(err)
	}
	if page := find(1234); page.Examined != 1 {
		t.Errorf("%d documents were looked at with an index", page.Examined)
	}
	flush(t, s)
	cfg.Dir = killed(t, s, cfg.Dir)
	s = start(t, cfg)
	if page := find(2999); page.Examined != 1 {
		t.Errorf("%d documents were looked at after a sudden end", page.Examined)
	}
	if err := s.DeleteCollection(t.Context(), "default", "c"); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Collections("default"); err != nil || len(list) != 0 {
		t.Errorf("collections %+v, %v", list, err)
	}
	if err := s.DeleteCollection(t.Context(), "default", "c"); !errors.Is(err, picloud.ErrCollectionNotFound) {
		t.Errorf("deleting it again: %v", err)
	}
	if rows := s.IndexRows(); rows != 0 {
		t.Errorf("%d rows of indexes are left", rows)
	}
}
