package httpapi_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"

	"github.com/picloud/picloud/api"
)

// OP-10: the document is valid OpenAPI 3.1, and the server has exactly the
// paths and methods it names.
func TestOpenAPIDescribesTheServer(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	a := n.ask(t, "GET", "/v1/openapi.json", "", "")
	if a.status != 200 {
		t.Fatal(a.status)
	}
	doc, err := libopenapi.NewDocument(a.body)
	if err != nil {
		t.Fatal(err)
	}
	model, err := doc.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	if v := model.Model.Version; v != "3.1.0" {
		t.Errorf("version %s", v)
	}
	paths := 0
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		paths++
		concrete := strings.NewReplacer("{app}", "default", "{topic}", "t", "{id}", "x", "{key}", "k", "{script}", "s", "{version}", "1", "{run}", "r", "{trigger}", "t", "{letter}", "l", "{collection}", "c", "{endpoint}", "e", "{secret}", "s", "{result}", "r").Replace(path)
		allow := n.ask(t, "OPTIONS", concrete, "", "").header.Get("Allow")
		for method := range item.GetOperations().FromOldest() {
			if !strings.Contains(allow, strings.ToUpper(method)) {
				t.Errorf("%s %s is described, the server allows %q", method, path, allow)
			}
		}
		if got := n.ask(t, "PROPFIND", concrete, n.admin, `{}`); got.status != 405 || got.header.Get("Allow") != allow {
			t.Errorf("PROPFIND %s: %d, Allow %q", path, got.status, got.header.Get("Allow"))
		}
	}
	if paths < 18 {
		t.Errorf("%d paths", paths)
	}
}

// OP-10: what the server sends has the fields its document names, no more and
// no fewer.
func TestAnswersMatchTheDocument(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]any
				Required   []string
			}
		}
	}
	if err := json.Unmarshal(n.ask(t, "GET", "/v1/openapi.json", "", "").body, &doc); err != nil {
		t.Fatal(err)
	}
	check := func(schema string, a *answer) {
		t.Helper()
		var got map[string]json.RawMessage
		if err := json.Unmarshal(a.body, &got); err != nil {
			t.Errorf("%s: %d %s", schema, a.status, a.body)
			return
		}
		want := doc.Components.Schemas[schema]
		for name := range got {
			if want.Properties[name] == nil {
				t.Errorf("%s: %q is not in the document", schema, name)
			}
		}
		for _, name := range want.Required {
			if got[name] == nil {
				t.Errorf("%s: %q is missing", schema, name)
			}
		}
	}
	check("App", n.ask(t, "POST", "/v1/apps", n.admin, `{"name":"x"}`))
	check("Apps", n.ask(t, "GET", "/v1/apps", n.admin, ""))
	check("Topic", n.ask(t, "POST", "/v1/apps/x/topics", n.admin, `{"name":"t"}`))
	check("Topics", n.ask(t, "GET", "/v1/apps/x/topics", n.admin, ""))
	published := n.ask(t, "POST", "/v1/apps/x/topics/t/events", n.admin, `{}`)
	check("Published", published)
	var p api.Published
	if err := json.Unmarshal(published.body, &p); err != nil {
		t.Fatal(err)
	}
	check("Event", n.ask(t, "GET", "/v1/apps/x/events/"+p.ID, n.admin, ""))
	check("History", n.ask(t, "GET", "/v1/apps/x/events?topic=t", n.admin, ""))
	check("Token", n.ask(t, "POST", "/v1/apps/x/subscriber-tokens", n.admin, `{"topics":["t"]}`))
	check("SigningKey", n.ask(t, "POST", "/v1/apps/x/signing-keys/rotate", n.admin, ""))
	check("SigningKeys", n.ask(t, "GET", "/v1/apps/x/signing-keys", n.admin, ""))
	check("CreatedKey", n.ask(t, "POST", "/v1/keys", n.admin, `{"scopes":["app:read"],"app":"x"}`))
	check("Keys", n.ask(t, "GET", "/v1/keys", n.admin, ""))
	check("Node", n.ask(t, "GET", "/v1/node", n.admin, ""))
	check("Problem", n.ask(t, "GET", "/v1/node", "", ""))
}

// FuzzPath sends arbitrary paths: every answer is a problem document or a
// result, none is a failure of the server.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/", "/v1/apps", "/v1/apps/default/topics/a%2Fb", "//", "/v1//topics", "/%00", "/v1/apps/%2e%2e/topics", "/v1/apps/default/events?topic=%zz&since=%"} {
		f.Add(seed)
	}
	n := newNode(f)
	f.Fuzz(func(t *testing.T, path string) {
		if _, err := url.ParseRequestURI("http://x/" + path); err != nil || strings.ContainsAny(path, " \r\n") {
			t.Skip()
		}
		got := n.raw(t, get("/"+strings.TrimPrefix(path, "/"), "Authorization: Bearer "+n.admin))
		if got != "" && (!strings.HasPrefix(got, "HTTP/1.1 ") || strings.HasPrefix(got, "HTTP/1.1 5")) {
			t.Errorf("%q: %.200s", path, got)
		}
	})
}
