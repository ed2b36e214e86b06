package e2e

import (
	"strings"
	"testing"
)

// SC-5: a request that asks for it is answered later: it is on the card when it is
// accepted, its script runs even though the node is killed, and whoever knows the
// address gets the answer.
func TestAnsweredLater(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	const source = `
import { kv, requireCaller, response, time } from "picloud";
export const slow = async (req, ctx) => { await time.sleep(700); await kv.increment("ran"); return response.text("late " + req.body.n + " " + (typeof ctx.delivery), { status: 201, headers: { "x-a": "b" } }) };
export const known = () => requireCaller();
export const echo = (req) => response.html(JSON.stringify(req.headers));
export const fails = () => { throw new Error("hush") };
`
	if _, errs, code := n.run(source, "scripts", "push", "--name", "s", "-"); code != 0 {
		t.Fatal(errs)
	}
	for _, name := range []string{"slow", "fails", "known", "echo"} {
		n.cli("endpoints", "set", name, "--method", "POST", "--path", "/"+name, "--script", "s", "--export", name, "--auth", "public")
	}
	accept := func(name string, headers ...string) string {
		t.Helper()
		a := n.do(202, nil, "POST", "/apps/default/"+name, "", `{"n":7}`, append(headers, "Prefer", "respond-async, wait=10")...)
		if a.header.Get("Preference-Applied") != "respond-async" {
			t.Errorf("accepted with %v", a.header)
		}
		return a.header.Get("Location")
	}
	first, second := accept("slow"), accept("slow")
	if first == second {
		t.Errorf("two requests share the address %s", first)
	}
	n.do(202, nil, "GET", first, "", "")
	n.kill()
	n.start()
	for _, where := range []string{first, second, first} {
		if a := n.do(201, nil, "GET", where+"?wait_sec=20", "", ""); string(a.body) != "late 7 string" || a.header.Get("X-A") != "b" {
			t.Errorf("answered %s %v", a.body, a.header)
		}
	}
	kept := accept("echo", "X-Api-Key", n.key("", "instance:admin"), "Cookie", "a=b", "X-Own", "yes")
	a := n.do(200, nil, "GET", kept+"?wait_sec=30", "", "")
	if body := string(a.body); strings.Contains(body, "pck_") || strings.Contains(body, "cookie") || !strings.Contains(body, `"x-own":"yes"`) {
		t.Errorf("the script got %s", body)
	}
	if policy := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "sandbox allow-scripts ") || strings.Contains(policy, "same-origin") {
		t.Errorf("a page is answered later with the policy %q", policy)
	}
	if a := n.do(500, nil, "GET", accept("fails")+"?wait_sec=30", "", ""); strings.Contains(string(a.body), "hush") {
		t.Errorf("a script that fails answers %s", a.body)
	}
	n.do(401, nil, "GET", accept("known")+"?wait_sec=30", "", "")
	if out := n.cli("runs", "list", "s"); strings.Count(out, "UnauthenticatedError") != 1 {
		t.Errorf("a script that wants to know who asks was tried again:\n%s", out)
	}
	n.do(413, nil, "POST", "/apps/default/slow", "", `"`+strings.Repeat("x", 70_000)+`"`, "Prefer", "respond-async")
	n.do(404, nil, "GET", "/v1/apps/default/results/none", "", "")
	where := accept("slow")
	n.cli("endpoints", "delete", "slow")
	n.do(500, nil, "GET", where, "", "")
}
