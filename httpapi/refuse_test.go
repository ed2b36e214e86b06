package httpapi_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
)

// RT-2, RT-3, AU-6: what outsiders get does not tell a missing app from a
// missing or an internal topic, nor one bad token from another.
func TestRefusalsAreByteIdentical(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for _, body := range []string{`{"name":"internal"}`, `{"name":"closed","external":true}`, `{"name":"other","external":true}`} {
		if a := n.ask(t, "POST", "/v1/apps/default/topics", n.admin, body); a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if a := n.ask(t, "POST", "/v1/apps", n.admin, `{"name":"two"}`); a.status != 201 {
		t.Fatal(a.status)
	}
	if a := n.ask(t, "POST", "/v1/apps/two/topics", n.admin, `{"name":"closed","external":true}`); a.status != 201 {
		t.Fatal(a.status)
	}
	token := func(app, topic string) string {
		tok, err := n.auth.Mint(context.Background(), picloud.LocalOperator(), app, []string{topic}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return tok.Text
	}
	good := token("default", "closed")
	const sse = "Accept: text/event-stream"
	path := func(app, topic, query string) string {
		return "/v1/apps/" + app + "/topics/" + topic + "/events" + query
	}
	foreignKey := n.key(t, "two", picloud.ScopeAppRead)
	same := func(name string, requests ...string) {
		first := n.raw(t, requests[0])
		for i, r := range requests[1:] {
			if got := n.raw(t, r); got != first {
				t.Errorf("%s: request %d got\n%s\nthe first got\n%s", name, i+1, got, first)
			}
		}
	}
	same("not found",
		get(path("default", "missing", ""), sse),
		get(path("default", "internal", ""), sse),
		get(path("nobody", "closed", ""), sse),
		get(path("default", "internal", "?token="+good), sse),
		get(path("default", "internal", ""), sse, "Authorization: Bearer "+good),
		get(path("default", "$board", ""), sse),
		get(path("default", "internal", ""), sse, "Authorization: Bearer "+foreignKey),
		get(path("default", "missing", "")),
	)
	several := func(app, topics string) string { return get("/v1/apps/"+app+"/events?"+topics, sse) }
	same("not found, one of several",
		several("default", "topic=internal&topic=closed"), // internal
		several("two", "topic=internal&topic=closed"),     // missing
		several("nobody", "topic=internal&topic=closed"),
		several("default", "topic=closed&topic=internal"),
		several("default", "topic=internal&topic=missing"),
	)
	if got := n.raw(t, several("default", "topic=closed&topic=internal")); !strings.Contains(got, `"status":404,`) || !strings.HasSuffix(got, `,"topic":"internal"}`) {
		t.Errorf("a stream of several topics does not say which is not there: %s", got)
	}
	broken := good[:len(good)-4] + "AAAA"
	same("unauthenticated",
		get(path("default", "closed", ""), sse),
		get(path("default", "closed", "?token=x"), sse),
		get(path("default", "closed", "?token="+broken), sse),
		get(path("default", "closed", "?token="+token("two", "closed")), sse),
		get(path("default", "closed", "?token="+token("default", "other")), sse),
		get(path("default", "closed", "?token="+n.admin), sse),
		get(path("default", "closed", ""), sse, "Authorization: Bearer "+broken),
		get(path("default", "closed", "?token="+good), sse, "Authorization: Bearer x"),
		get(path("default", "closed", "?token="+good), sse, "Authorization: Basic eDp5"),
		get(path("default", "closed", ""), sse, "Authorization: Bearer pck_aaaaaaaaaa_b"),
		get(path("default", "internal", ""), sse, "Authorization: Bearer pck_aaaaaaaaaa_b"),
		get(path("default", "closed", "?token="+good)), // a query token is for streams alone
		get(path("default", "closed", ""), sse, "Authorization: Bearer "+foreignKey),
		get("/v1/node"),
		get("/v1/apps/default/topics"),
		get("/v1/apps/nobody/topics"),
		get("/v1/keys", "Authorization: Bearer "+good),
	)
	n.sse(t, path("default", "closed", "?token="+good))
	n.sse(t, path("default", "closed", ""), "Authorization: Bearer "+good)
	n.sse(t, path("default", "internal", ""), "Authorization: Bearer "+n.key(t, "default", picloud.ScopeAppRead))
	same("app not found",
		get("/v1/apps/default/topics", "Authorization: Bearer "+foreignKey),
		get("/v1/apps/nobody/topics", "Authorization: Bearer "+foreignKey),
	)
}

// AU-1: every route for every kind of principal.
func TestRoutesByPrincipal(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	routes := map[string]picloud.Scope{
		"GET /v1/apps/default":                      picloud.ScopeAppRead,
		"PATCH /v1/apps/default":                    picloud.ScopeAppAdmin,
		"GET /v1/apps/default/topics":               picloud.ScopeAppRead,
		"POST /v1/apps/default/topics":              picloud.ScopeAppAdmin,
		"GET /v1/apps/default/topics/t":             picloud.ScopeAppRead,
		"PATCH /v1/apps/default/topics/t":           picloud.ScopeAppAdmin,
		"DELETE /v1/apps/default/topics/t":          picloud.ScopeAppAdmin,
		"PATCH /v1/apps/default/topics/t/external":  picloud.ScopeAppAdmin,
		"POST /v1/apps/default/topics/t/events":     picloud.ScopeAppPublish,
		"POST /v1/apps/default/events":              picloud.ScopeAppPublish,
		"GET /v1/apps/default/events/00c3a91e42.1":  picloud.ScopeAppRead,
		"GET /v1/apps/default/pins":                 picloud.ScopeAppRead,
		"GET /v1/apps/default/pins/lamp":            picloud.ScopeAppRead,
		"PUT /v1/apps/default/pins/lamp":            picloud.ScopeAppWrite,
		"POST /v1/apps/default/pins/lamp/press":     picloud.ScopeInstanceAdmin,
		"GET /v1/apps/default/sensors":              picloud.ScopeAppRead,
		"GET /v1/apps/default/sensors/room":         picloud.ScopeAppRead,
		"POST /v1/apps/default/subscriber-tokens":   picloud.ScopeAppPublish,
		"GET /v1/apps/default/signing-keys":         picloud.ScopeAppAdmin,
		"POST /v1/apps/default/signing-keys":        picloud.ScopeAppAdmin,
		"POST /v1/apps/default/signing-keys/rotate": picloud.ScopeAppAdmin,
		"POST /v1/apps":                             picloud.ScopeInstanceAdmin,
		"DELETE /v1/apps/default":                   picloud.ScopeInstanceAdmin,
		"GET /v1/node":                              picloud.ScopeInstanceRead,
		"GET /v1/node/board":                        picloud.ScopeInstanceRead,
		"GET /v1/node/board/header":                 picloud.ScopeInstanceRead,
		"GET /v1/node/board/sensors":                picloud.ScopeInstanceRead,
		"GET /v1/node/board/scan":                   picloud.ScopeInstanceAdmin,
		"GET /v1/backup":                            picloud.ScopeInstanceAdmin,
		"GET /metrics":                              picloud.ScopeInstanceRead,
	}
	if _, err := n.store.CreateApp(context.Background(), picloud.App{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	ofOther := n.key(t, "other", picloud.ScopeAppAdmin)
	keys := map[picloud.Scope]string{}
	for _, s := range picloud.Scopes() {
		app := "default"
		if s.Instance() {
			app = ""
		}
		keys[s] = n.key(t, app, s)
	}
	for spec, need := range routes {
		method, path, _ := strings.Cut(spec, " ")
		body := ""
		if method != "GET" {
			body = `{"nonsense":true}`
		}
		if got := n.ask(t, method, path, "", body).status; got != 401 {
			t.Errorf("%s anonymous: %d", spec, got)
		}
		if strings.Contains(path, "default") {
			if got := n.ask(t, method, path, ofOther, body); got.status != 404 && got.status != 403 {
				t.Errorf("%s key of another app: %d", spec, got.status)
			}
		}
		for scope, key := range keys {
			if method == "DELETE" {
				continue // would change what the others see
			}
			got := n.ask(t, method, path, key, body)
			allowed := scope == need || scope == picloud.ScopeInstanceAdmin || (scope == picloud.ScopeAppAdmin && !need.Instance())
			if refused := got.status == 401 || got.status == 403 || got.problem().Type == "urn:picloud:problem:app-not-found"; refused == allowed {
				t.Errorf("%s with %s: %d %s", spec, scope, got.status, got.body)
			}
		}
		if method == "DELETE" {
			continue
		}
		if got := n.askWith(t, n.local, "http://node", method, path, "", body); got.status == 401 || got.status == 403 {
			t.Errorf("%s local operator: %d", spec, got.status)
		}
	}
}

// PB-4, TP-2, TP-3: each fault has its own problem document, and nothing is
// stored.
func TestBadInputHasItsOwnProblem(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if a := n.ask(t, "POST", "/v1/apps/default/topics", n.admin, `{"name":"t"}`); a.status != 201 {
		t.Fatal(a.status)
	}
	big := `"` + strings.Repeat("x", 256<<10) + `"`
	huge := `"` + strings.Repeat("x", 3<<20) + `"`
	many := "[" + strings.TrimSuffix(strings.Repeat(`{"topic":"t","data":1},`, 1001), ",") + "]"
	events := "/v1/apps/default/topics/t/events"
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		kind                     string
	}{
		{"no JSON", "POST", events, `{"a":`, nil, 400, "data-invalid"},
		{"two values", "POST", events, `1 2`, nil, 400, "data-invalid"},
		{"empty", "POST", events, ` `, nil, 400, "data-invalid"},
		{"no UTF-8", "POST", events, "\"\xff\"", nil, 400, "data-invalid"},
		{"content type", "POST", events, `1`, []string{"Content-Type", "text/plain"}, 415, "content-type"},
		{"too large", "POST", events, big, nil, 413, "data-too-large"},
		{"far too large", "POST", events, huge, nil, 413, "body-too-large"},
		{"topic with star", "POST", "/v1/apps/default/topics/a*/events", `1`, nil, 422, "topic-name-invalid"},
		{"topic too long", "POST", "/v1/apps/default/topics/" + strings.Repeat("a", 129) + "/events", `1`, nil, 422, "topic-name-invalid"},
		{"system topic", "POST", "/v1/apps/default/topics/$x/events", `1`, nil, 403, "topic-reserved"},
		{"topic with NUL", "POST", "/v1/apps/default/topics/a%00b/events", `1`, nil, 422, "topic-name-invalid"},
		{"idempotency key", "POST", events, `1`, []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, "idempotency-key-invalid"},
		{"empty batch", "POST", "/v1/apps/default/events", `[]`, nil, 422, "batch-invalid"},
		{"large batch", "POST", "/v1/apps/default/events", many, nil, 422, "batch-invalid"},
		{"batch without data", "POST", "/v1/apps/default/events", `[{"topic":"t"}]`, nil, 422, "batch-invalid"},
		{"batch with a fault", "POST", "/v1/apps/default/events", `[{"topic":"t","data":1},{"topic":"*","data":1}]`, nil, 422, "topic-name-invalid"},
		{"batch is no array", "POST", "/v1/apps/default/events", `{"topic":"t"}`, nil, 400, "body-invalid"},
		{"unknown field", "POST", "/v1/apps", `{"name":"x","colour":1}`, nil, 400, "body-invalid"},
		{"wrong type", "POST", "/v1/apps", `{"name":1}`, nil, 400, "body-invalid"},
		{"trailing", "POST", "/v1/apps", `{"name":"x"}{}`, nil, 400, "body-invalid"},
		{"app name", "POST", "/v1/apps", `{"name":"X"}`, nil, 422, "app-name-invalid"},
		{"app exists", "POST", "/v1/apps", `{"name":"default"}`, nil, 409, "app-exists"},
		{"origin", "PATCH", "/v1/apps/default", `{"allowed_origins":["x"]}`, nil, 422, "app-invalid"},
		{"auth mode", "POST", "/v1/apps/default/topics", `{"name":"x","auth_mode":"none"}`, nil, 422, "topic-invalid"},
		{"external by patch", "PATCH", "/v1/apps/default/topics/t", `{"external":true}`, nil, 422, "external-has-its-own-endpoint"},
		{"external null", "PATCH", "/v1/apps/default/topics/t/external", `{}`, nil, 400, "body-invalid"},
		{"topic exists", "POST", "/v1/apps/default/topics", `{"name":"t"}`, nil, 409, "topic-exists"},
		{"no topic", "GET", "/v1/apps/default/topics/u", ``, nil, 404, "topic-not-found"},
		{"no scopes", "POST", "/v1/keys", `{"scopes":[]}`, nil, 422, "key-invalid"},
		{"bad scope", "POST", "/v1/keys", `{"scopes":["root"]}`, nil, 422, "key-invalid"},
		{"key of no app", "POST", "/v1/keys", `{"scopes":["app:read"],"app":"none"}`, nil, 404, "app-not-found"},
		{"no key", "DELETE", "/v1/keys/none", ``, nil, 404, "key-not-found"},
		{"token for no topic", "POST", "/v1/apps/default/subscriber-tokens", `{"topics":[]}`, nil, 422, "token-request-invalid"},
		{"token for a missing topic", "POST", "/v1/apps/default/subscriber-tokens", `{"topics":["u"]}`, nil, 422, "token-request-invalid"},
		{"bad event id", "GET", "/v1/apps/default/events/1", ``, nil, 400, "position-invalid"},
		{"no event", "GET", "/v1/apps/default/events/00c3a91e42.1", ``, nil, 404, "event-not-found"},
		{"bad since", "GET", events + "?since=yesterday", ``, nil, 400, "query-invalid"},
		{"bad limit", "GET", events + "?limit=0", ``, nil, 400, "query-invalid"},
		{"bad after", "GET", events + "?after=1", ``, nil, 400, "position-invalid"},
		{"foreign after", "GET", events + "?after=00c3a91e42.1", ``, nil, 410, "position-foreign"},
		{"no topics", "GET", "/v1/apps/default/events", ``, nil, 400, "query-invalid"},
		{"too many topics", "GET", "/v1/apps/default/events?" + manyTopics(65), ``, nil, 400, "query-invalid"},
		{"bad last_event_id", "GET", events + "?last_event_id=x", ``, []string{"Accept", "text/event-stream"}, 400, "position-invalid"},
		{"latest of another topic", "GET", events + "?latest=u", ``, []string{"Accept", "text/event-stream"}, 400, "query-invalid"},
		{"latest without a name", "GET", events + "?latest=", ``, []string{"Accept", "text/event-stream", "Last-Event-ID", "00c3a91e42.1"}, 400, "query-invalid"},
		{"latest that is no name", "GET", "/v1/apps/default/events?topic=t&latest=t&latest=*", ``, []string{"Accept", "text/event-stream"}, 400, "query-invalid"},
		{"bad escape", "GET", "/v1/apps/default/topics/%zz", ``, nil, 400, "path-invalid"},
		{"no route", "GET", "/v2", ``, nil, 404, "no-such-route"},
		{"method", "PUT", "/v1/apps", `{}`, nil, 405, "method-not-allowed"},
	} {
		if c.name == "bad escape" {
			got := n.raw(t, get(c.path, "Authorization: Bearer "+n.admin))
			if !strings.HasPrefix(got, "HTTP/1.1 400") || !strings.Contains(got, "problem:"+c.kind) {
				t.Errorf("%s: %s", c.name, got)
			}
			continue
		}
		a := n.ask(t, c.method, c.path, n.admin, c.body, c.headers...)
		p := a.problem()
		if a.status != c.status || p.Type != "urn:picloud:problem:"+c.kind || p.Status != c.status || p.Title == "" ||
			a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s, want %d %s", c.name, a.status, a.body, c.status, c.kind)
		}
	}
	if head, err := n.store.Head("default"); err != nil || head.Seq != 0 {
		t.Errorf("something was stored: %v %v", head, err)
	}
}

func manyTopics(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "topic=t%d&", i)
	}
	return b.String()
}
