package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

// Below /v1 a parameter that a route does not have is refused, with the name that was
// probably meant; in front of the question who asks, so that it tells nothing.
func TestUnknownParametersAreRefused(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for path, says := range map[string]string{
		"/v1/apps/default/kv?lmit=3":                     `a parameter "lmit" is not known here; did you mean limit?`,
		"/v1/apps/default/events?topic=t&Since=all":      `"Since" is not known here; did you mean since?`,
		"/v1/apps/default/topics/t/events?lastEventId=x": `this address has since, after, limit, last_event_id`,
		"/v1/apps/default/topics/t/events?topic=t":       `"topic" is not known here`,
		"/v1/apps/default/runs?offset=1":                 `this address has script, after, limit, wait_sec`,
		"/v1/node?token=x":                               `"token" is not known here; this address has none`,
		"/v1/openapi.json?x":                             `"x" is not known here`,
		"/v1/node?" + n.admin:                            "a parameter is not known here",
		"/v1/node?a%20b=" + n.admin:                      "a parameter is not known here",
	} {
		for _, key := range []string{"", n.admin, "x"} {
			a := n.ask(t, "GET", path, key, "")
			if p := a.problem(); a.status != 400 || p.Type != api.ProblemPrefix+"query-invalid" || !strings.Contains(p.Detail, says) || strings.Contains(p.Detail, "pck_") {
				t.Errorf("%s: %d %s, want it to say %q", path, a.status, a.body, says)
			}
		}
	}
	for _, path := range []string{"/?utm=1", "/healthz?now", "/readyz?now", "/v1/apps/default/events?topic=a&topic=b&limit=1"} {
		if a := n.ask(t, "GET", path, n.admin, ""); a.status != 200 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	n.serve(t, `export const echo = (req) => req.query;`, "echo")
	if a := n.ask(t, "GET", "/apps/default/echo?lmit=3", "", ""); a.status != 200 || string(a.body) != "{\"lmit\":\"3\"}\n" {
		t.Errorf("an app's own parameters: %d %s", a.status, a.body)
	}
}

// The address of the next page has the parameters of the route, each as often as it was
// given, and no others.
func TestNextKeepsParameters(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for i := range 3 {
		if a := n.ask(t, "PUT", fmt.Sprintf("/v1/apps/default/kv/a%d", i), n.admin, "1"); a.status != 200 {
			t.Fatal(a.status)
		}
	}
	var list api.Entries
	a := n.ask(t, "GET", "/v1/apps/default/kv?prefix=a&limit=1&after=a0", n.admin, "")
	if err := json.Unmarshal(a.body, &list); err != nil || list.Next == nil || *list.Next != "/v1/apps/default/kv?after=a1&limit=1&prefix=a" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// AU-6: what a page of any origin gets when it is refused does not tell whether there is
// such an app, and which origins that allows.
func TestOriginsDoNotTellOfApps(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	const origin = "Origin: https://x.example"
	if _, err := n.store.CreateApp(t.Context(), picloud.App{Name: "secret", AllowedOrigins: []string{"https://x.example"}}); err != nil {
		t.Fatal(err)
	}
	foreign := "Authorization: Bearer " + n.key(t, "default", picloud.ScopeAppAdmin)
	for name, request := range map[string]func(app string) string{
		"nobody":         func(app string) string { return get("/v1/apps/"+app+"/topics", origin) },
		"a key of other": func(app string) string { return get("/v1/apps/"+app+"/topics", origin, foreign) },
		"a bad key":      func(app string) string { return get("/v1/apps/"+app+"/kv/k", origin, "Authorization: Bearer x") },
		"a topic":        func(app string) string { return get("/v1/apps/"+app+"/topics/t/events", origin) },
		"a stream": func(app string) string {
			return get("/v1/apps/"+app+"/events?topic=t", origin, "Accept: text/event-stream")
		},
		"a result":       func(app string) string { return get("/v1/apps/"+app+"/results/r", origin) },
		"an endpoint":    func(app string) string { return get("/apps/"+app+"/x", origin) },
		"a method":       func(app string) string { return strings.Replace(get("/v1/apps/"+app, origin), "GET", "POST", 1) },
		"a parameter":    func(app string) string { return get("/v1/apps/"+app+"/topics?x=1", origin) },
		"a topic's name": func(app string) string { return get("/v1/apps/"+app+"/topics/%20/events", origin) },
		"no such route":  func(app string) string { return get("/v1/apps/"+app+"/nothing", origin) },
	} {
		is, isNot := n.raw(t, request("secret")), n.raw(t, request("nobody"))
		if is != isNot {
			t.Errorf("%s: got\n%s\nof an app that does not exist\n%s", name, is, isNot)
		}
	}
	got := n.raw(t, get("/v1/apps/secret/topics", origin))
	if !strings.HasPrefix(got, "HTTP/1.1 401 ") || !strings.Contains(got, "\r\nAccess-Control-Allow-Origin: *\r\n") {
		t.Errorf("a page cannot read why it is refused: %s", got)
	}
}
