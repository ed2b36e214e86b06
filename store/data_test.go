package store_test

import (
	"fmt"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// PG-1: who begins to follow the journal in the middle gets all that apps keep,
// page by page: each thing once, whatever its kind and however many there are.
func TestDataHasEveryKindOverManyPages(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir()})
	ctx := t.Context()
	want := map[string]bool{}
	for i := range 700 { // more than a page of each of the two that are many
		key := fmt.Sprintf("k%03d", i)
		if _, err := s.SetEntry(ctx, picloud.EntryChange{App: "default", Key: key, Value: []byte("1")}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.PutDocument(ctx, picloud.DocumentChange{App: "default", Collection: "c", ID: key, Body: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		want["kv "+key], want["document c\x00"+key] = true, true
	}
	if _, err := s.SaveScript(ctx, picloud.Script{App: "default", Name: "door", Source: "export default () => 1"}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SetSecret(ctx, "default", "s", []byte("v")); err != nil {
		t.Fatal(err)
	}
	want["script door"], want["secret s"] = true, true
	for after, first := "", true; first || after != ""; first = false {
		page, next, err := s.Data(after)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page {
			name := string(c.Kind) + " " + c.Name
			if !want[name] {
				t.Errorf("%q came twice, or never was", name)
			}
			delete(want, name)
		}
		after = next
	}
	for name := range want {
		t.Errorf("%q is missing", name)
	}
}
