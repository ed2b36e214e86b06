package httpapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/httpapi"
	"github.com/picloud/picloud/script"
	"github.com/picloud/picloud/sdk"
)

// SC-5, SC-3: scripts answer requests, by method and path, to whom they are meant
// for, and say no more than they mean to.
func TestEndpointsAnswer(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	source := `
import { response, docs, pubsub, requireCaller, ctx, NotFoundError } from "picloud";
export const echo = (req) => req;
export const text = (req) => response.text("hi " + req.params.name, { status: 201, headers: { "x-a": "b" } });
export const bytes = () => response.bytes(new Uint8Array([0, 255]), { headers: { "content-type": "image/png" } });
export const go = () => response.redirect("/apps/default/echo");
export const nothing = () => {};
export const split = () => response.text("x", { headers: { "x-a": "b\r\nset-cookie: c=1" } });
export const boom = () => { throw new Error("the secret is 7"); };
const later = async () => { await null; throw new Error("the secret is 8"); };
export const lost = () => { later(); return 1; };
export const forever = async () => { await new Promise(() => {}); };
export const slow = () => { for (;;); };
export const who = () => requireCaller();
export const token = () => pubsub.subscriberToken("door", 60);
export const length = ({ body }) => body.length;
export const page = () => response.html("<tr><td>&</td></tr>".repeat(40000));
export const body = ({ body }) => body;
`
	if a := n.ask(t, "PUT", "/v1/apps/default/scripts/s", n.admin, source, "Content-Type", "text/javascript"); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for name, spec := range map[string]string{
		"echo": `"method":"*","path":"/echo/{rest...}","export":"echo","auth":"public"`, "echo2": `"method":"POST","path":"/echo","export":"echo","auth":"public"`,
		"text": `"path":"/hello/{name}","export":"text","auth":"public"`, "exact": `"path":"/hello/world","export":"nothing","auth":"public"`,
		"bytes": `"path":"/bytes","export":"bytes","auth":"public"`, "go": `"path":"/go","export":"go","auth":"public"`, "split": `"path":"/split","export":"split","auth":"public"`,
		"boom": `"path":"/boom","export":"boom","auth":"public"`, "lost": `"path":"/lost","export":"lost","auth":"public"`, "slow": `"path":"/slow","export":"slow","auth":"public","timeout_sec":0.3`,
		"token": `"path":"/token","export":"token","auth":"public"`, "length": `"path":"/length","method":"POST","export":"length","auth":"public"`,
		"page": `"path":"/page","export":"page","auth":"public"`, "body": `"path":"/body","method":"POST","export":"body","auth":"public"`,
		"who": `"path":"/who","export":"who","auth":"public"`, "closed": `"path":"/closed","export":"who"`,
	} {
		if a := n.ask(t, "PUT", "/v1/apps/default/endpoints/"+name, n.admin, `{"script":"s",`+spec+`}`); a.status != 200 {
			t.Fatalf("%s: %d %s", name, a.status, a.body)
		}
	}
	other, err := n.store.CreateApp(t.Context(), picloud.App{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.store.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "door", External: true}); err != nil {
		t.Fatal(err)
	}
	key, foreign := n.key(t, "default", picloud.ScopeAppInvoke), n.key(t, other.Name, picloud.ScopeAppInvoke)
	const app = "/apps/default"
	for _, test := range []struct {
		method, path, key, body string
		headers                 []string
		status                  int
		want                    string
	}{
		{"POST", "/echo/a%2Fb/c?x=1&y=2&y=3", "", `{"n": 1}`, []string{"X-Y", "z"}, 200, `"body":{"n":1}`},
		{"POST", "/echo/a%2Fb/c?x=1&y=2&y=3", "", `{"n": 1}`, nil, 200, `"query":{"x":"1","y":["2","3"]}`},
		{"PUT", "/echo/a%2Fb/c", "", `text`, []string{"Content-Type", "text/plain"}, 200, `"params":{"rest":"a/b/c"}`},
		{"POST", "/echo/x", "", "\x00\xff", []string{"Content-Type", "image/png"}, 200, `"binary":true`},
		{"POST", "/echo/x", "", "{", nil, 400, "data-invalid"},
		{"POST", "/echo/x", key, "{}", nil, 200, `"headers":{"accept-encoding"`},
		{"POST", "/echo/x", foreign, "{}", nil, 200, `"headers":{"accept-encoding"`},
		{"POST", "/echo/x", n.key(t, "default", picloud.ScopeAppRead), "{}", nil, 200, `"headers":{"accept-encoding"`},
		{"GET", "/token", "", "", nil, 401, "unauthenticated"}, // TK-2
		{"GET", "/token", key, "", nil, 200, `"token":"`},
		{"GET", "/page", "", "", nil, 200, "<tr><td>&</td></tr><tr>"},
		{"POST", "/length", "", strings.Repeat("<&>", 300_000), []string{"Content-Type", "text/plain"}, 200, "900000"},
		{"POST", "/length", "", strings.Repeat("\x00", 1_000_000), []string{"Content-Type", "text/plain"}, 200, "1000000"},
		{"POST", "/body", "", `{"picloud_response":1,"status":201,"headers":{"set-cookie":"a=b"},"body":"<script>","encoding":"text"}`, nil, 200, `{"picloud_response":1,`},
		{"GET", "/echo", "", "", nil, 405, "method"},
		{"GET", "/hello/ada", "", "", nil, 201, "hi ada"},
		{"HEAD", "/hello/ada", "", "", nil, 201, ""},
		{"GET", "/hello/world", "", "", nil, 204, ""},
		{"GET", "/bytes", "", "", nil, 200, "\x00\xff"},
		{"GET", "/split", "", "", nil, 500, "script-failed"},
		{"GET", "/boom", "", "", nil, 500, "script-failed"},
		{"GET", "/lost", "", "", nil, 500, "script-failed"},
		{"GET", "/slow", "", "", nil, 500, "script-failed"},
		{"GET", "/none", "", "", nil, 404, "no-such-route"},
		{"GET", "/who", "", "", nil, 401, "unauthenticated"},
		{"GET", "/who", key, "", nil, 200, `"kind":"key"`},
		{"GET", "/who", foreign, "", nil, 401, "unauthenticated"},
		{"GET", "/closed", "", "", nil, 401, "unauthenticated"},
		{"GET", "/closed", key, "", nil, 200, `"kind":"key"`},
		{"GET", "/closed", foreign, "", nil, 404, "app-not-found"},
		{"GET", "/closed", n.key(t, "default", picloud.ScopeAppRead), "", nil, 403, "forbidden"},
	} {
		a := n.ask(t, test.method, app+test.path, test.key, test.body, test.headers...)
		if a.status != test.status || !strings.Contains(string(a.body), test.want) {
			t.Errorf("%s %s: %d %s %v, want %d %s", test.method, test.path, a.status, a.body, a.header, test.status, test.want)
		}
		said := fmt.Sprint(string(a.body), a.header)
		if strings.Contains(said, "secret") || (test.key != "" && strings.Contains(said, test.key)) || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s %s tells too much: %s %v", test.method, test.path, a.body, a.header)
		}
	}
	if a := n.ask(t, "OPTIONS", app+"/hello/ada", "", ""); a.status != 204 || a.header.Get("Allow") != "GET, OPTIONS" {
		t.Errorf("options: %d %v", a.status, a.header)
	}
	if _, err := n.store.UpdateApp(t.Context(), "default", picloud.AppPatch{AllowedOrigins: &[]string{"https://app.example"}}); err != nil {
		t.Fatal(err)
	}
	pre := n.ask(t, "OPTIONS", app+"/echo/x", "", "", "Origin", "https://app.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "x-own, authorization")
	if h := pre.header; pre.status != 204 || h.Get("Access-Control-Allow-Headers") != "x-own, authorization" || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("a page asks whether it may: %d %v", pre.status, h)
	}
	if a := n.ask(t, "PUT", "/v1/apps/default/endpoints/twice", n.admin, `{"script":"s","path":"/hello/{other}"}`); a.status != 422 {
		t.Errorf("two endpoints at one place: %d %s", a.status, a.body)
	}
	list, err := n.store.Runs("default", "s", "", 100)
	if err != nil || len(list) < 10 || !strings.HasPrefix(list[0].Cause, "endpoint:") {
		t.Errorf("%d runs, %v", len(list), err)
	}
	if !slices.ContainsFunc(list, func(r picloud.Run) bool { return r.Outcome == "output" && strings.Contains(r.Error, `header "x-a"`) }) {
		t.Error("no run says why its response could not be sent")
	}
	if !slices.ContainsFunc(list, func(r picloud.Run) bool {
		return r.Outcome == "error" && strings.Contains(r.Error, "the secret is 8") && strings.Contains(r.Stack, "app:s:")
	}) {
		t.Error("no run has the failure that its handler did not await")
	}
}

// A node that cannot start a worker is not to be asked again at once, and neither the
// script nor the request is to blame.
func TestEndpointWithoutAWorker(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(cfg *httpapi.Config) {
		cfg.Scripts = script.New(script.Config{Host: sdk.New(sdk.Config{Store: cfg.Store}), Executable: "/bin/false"})
	})
	if _, err := n.store.SaveScript(t.Context(), picloud.Script{App: "default", Name: "s", Source: "export default () => 1"}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	if a := n.ask(t, "PUT", "/v1/apps/default/endpoints/e", n.admin, `{"script":"s","path":"/e","auth":"public"}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, c := range []struct{ method, path, body string }{{"GET", "/apps/default/e", ""}, {"POST", "/v1/apps/default/scripts/s/run", "{}"}} {
		a := n.ask(t, c.method, c.path, n.admin, c.body)
		if a.status != 503 || a.header.Get("Retry-After") != "10" || !strings.Contains(string(a.body), "script-worker-unavailable") {
			t.Errorf("%s: %d %s %v", c.path, a.status, a.body, a.header)
		}
	}
}
