package httpapi_test

import (
	"encoding/json"
	"testing"

	"github.com/picloud/picloud/api"
)

// DO-1 over HTTP: documents are made, found, merged and guarded by their versions.
func TestDocuments(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	const orders = "/v1/apps/default/docs/orders"
	if a := n.ask(t, "PUT", orders, n.admin, `{"indexes":["who"]}`); a.status != 200 {
		t.Fatalf("declare: %d %s", a.status, a.body)
	}
	var d api.Document
	a := n.ask(t, "POST", orders+"/documents", n.admin, `{"who":"ada","n":1}`)
	if err := json.Unmarshal(a.body, &d); err != nil || a.status != 201 || a.header.Get("ETag") == "" {
		t.Fatalf("create: %d %s", a.status, a.body)
	}
	tag := a.header.Get("ETag")
	if a := n.ask(t, "PUT", orders+"/documents/x", n.admin, `{"who":"bob","n":2}`, "If-None-Match", "*"); a.status != 200 {
		t.Errorf("put: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "GET", orders+"/documents/"+d.ID, n.admin, "", "If-None-Match", tag); a.status != 304 {
		t.Errorf("read again: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "PATCH", orders+"/documents/"+d.ID, n.admin, `{"n":null,"more":true}`, "Content-Type", "application/merge-patch+json", "If-Match", tag); a.status != 200 {
		t.Errorf("merge: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "PUT", orders+"/documents/"+d.ID, n.admin, `{}`, "If-Match", tag); a.status != 412 {
		t.Errorf("put of what has changed: %d %s", a.status, a.body)
	}
	var found api.Found
	a = n.ask(t, "POST", orders+"/find", n.admin, `{"where":{"who":"ada"}}`)
	if err := json.Unmarshal(a.body, &found); err != nil || a.status != 200 || len(found.Documents) != 1 || string(found.Documents[0].Body) != `{"more":true,"who":"ada"}` || found.Examined != 1 {
		t.Errorf("find: %d %s", a.status, a.body)
	}
	for body, want := range map[string]int{`{"where":{"a":{"like":1}}}`: 422, `{"where":[1]}`: 422, `{"where":{"a":[1]}}`: 422, `{"limit":0}`: 400, `{"after":"%"}`: 422, `{"sort":"a..b"}`: 422} {
		if a := n.ask(t, "POST", orders+"/find", n.admin, body); a.status != want {
			t.Errorf("find %s: %d %s", body, a.status, a.body)
		}
	}
	var page api.Documents
	a = n.ask(t, "GET", orders+"/documents?limit=1", n.admin, "")
	if err := json.Unmarshal(a.body, &page); err != nil || len(page.Documents) != 1 || page.Next == nil {
		t.Fatalf("list: %d %s", a.status, a.body)
	}
	a = n.ask(t, "GET", *page.Next, n.admin, "")
	if err := json.Unmarshal(a.body, &page); err != nil || len(page.Documents) != 1 || page.Next != nil {
		t.Errorf("second page: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "POST", orders+"/documents", n.admin, `[1]`); a.status != 422 {
		t.Errorf("an array as a document: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "DELETE", orders+"/documents/x", n.admin, ""); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "DELETE", orders, n.admin, ""); a.status != 204 {
		t.Errorf("drop: %d %s", a.status, a.body)
	}
}
