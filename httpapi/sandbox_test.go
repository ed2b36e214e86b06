package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// serve saves a script and lets its exports answer, each to anybody at a path of its
// name, at /own/{export} to holders of keys.
func (n *node) serve(t *testing.T, source string, exports ...string) {
	t.Helper()
	if a := n.ask(t, "PUT", "/v1/apps/default/scripts/s", n.admin, source, "Content-Type", "text/javascript"); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, export := range exports {
		for name, spec := range map[string]string{export: `"path":"/` + export + `","auth":"public"`, "own-" + export: `"path":"/own/` + export + `"`} {
			if a := n.ask(t, "PUT", "/v1/apps/default/endpoints/"+name, n.admin, `{"script":"s","method":"*","export":"`+export+`",`+spec+`}`); a.status != 200 {
				t.Fatalf("%s: %d %s", name, a.status, a.body)
			}
		}
	}
}

// What an app answers has an origin of its own in browsers, whatever the app says: a
// page, a failure, and what is not there.
func TestAnswersOfAppsAreSandboxed(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.serve(t, `
import { response } from "picloud";
export const page = () => response.html("<script>1</script>", { headers: { "content-security-policy": "default-src 'self'", vary: "Cookie" } });
export const json = () => ({ a: 1 });
export const nothing = () => {};
export const boom = () => { throw new Error("x"); };
export const cookie = () => response.html("x", { headers: { "set-cookie": "a=b" } });
`, "page", "json", "nothing", "boom", "cookie")
	const sandbox = "sandbox allow-scripts allow-forms allow-popups allow-downloads allow-modals"
	for path, status := range map[string]int{"page": 200, "json": 200, "nothing": 204, "boom": 500, "cookie": 500, "none": 404, "own/page": 401, "%zz": 404} {
		got := n.raw(t, get("/apps/default/"+path))
		a := n.ask(t, "GET", "/apps/default/"+strings.ReplaceAll(path, "%zz", "none"), "", "")
		policies := a.header.Values("Content-Security-Policy")
		if a.status != status || !slices.Contains(policies, sandbox) || !strings.Contains(got, "\r\nContent-Security-Policy: "+sandbox+"\r\n") || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", path, a.status, a.header)
		}
		if a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s sets a cookie", path)
		}
		if path == "page" && (len(policies) != 2 || policies[0] != "default-src 'self'" || a.header.Get("Vary") != "Cookie, Accept, Origin") {
			t.Errorf("the app's own headers: %v", a.header)
		}
	}
}

// API keys and cookies never reach a script, in whatever header they come.
func TestKeysAndCookiesDoNotReachScripts(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.serve(t, `export const echo = (req) => ({ headers: req.headers, query: req.query });`, "echo")
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+n.admin))
	for name, lines := range map[string][]string{
		"bearer":          {"Authorization: Bearer " + n.admin},
		"two credentials": {"Authorization: Basic x", "Authorization: Bearer " + n.admin},
		"another scheme":  {"Authorization: Token " + n.admin},
		"tabs":            {"Authorization: Bearer\t" + n.admin},
		"basic":           {"Authorization: " + basic},
		"own header":      {"X-Api-Key: " + n.admin},
		"cookie":          {"Cookie: session=" + n.admin, "Cookie: session=mine"},
	} {
		got := n.raw(t, get("/apps/default/echo?key="+n.admin+"&a=b", append(lines, "X-Kept: yes")...))
		if !strings.HasPrefix(got, "HTTP/1.1 200 ") || strings.Contains(got, "pck_") || strings.Contains(got, basic) || strings.Contains(got, "session") {
			t.Errorf("%s: %s", name, got)
		}
		if !strings.Contains(got, `"x-kept":"yes"`) || !strings.Contains(got, `"a":"b"`) {
			t.Errorf("%s: the rest is gone: %s", name, got)
		}
	}
	var echo struct{ Headers map[string]string }
	got := n.ask(t, "GET", "/apps/default/echo", "", "", "Authorization", "Token of-another-service")
	if err := json.Unmarshal(got.body, &echo); err != nil || echo.Headers["authorization"] != "Token of-another-service" {
		t.Errorf("a credential that is meant for the script: %s", got.body)
	}
}

// AU-6: the refusal of a script that wants to know the caller is the same as that of the
// node.
func TestOneRefusalOfUnknownCallers(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.serve(t, `import { requireCaller } from "picloud"; export const who = () => requireCaller();`, "who")
	want := n.raw(t, get("/apps/default/own/who"))
	if got := n.raw(t, get("/apps/default/who")); got != want || !strings.HasPrefix(got, "HTTP/1.1 401 ") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
