package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

// SE-1: secrets are set and listed, and never told.
func TestSecretsAreNeverTold(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	const path = "/v1/apps/default/secrets"
	if a := n.ask(t, "PUT", path+"/mail", n.admin, `{"value":"hush"}`); a.status != 200 || strings.Contains(string(a.body), "hush") {
		t.Errorf("set: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "GET", path, n.admin, ""); a.status != 200 || strings.Contains(string(a.body), "hush") || !strings.Contains(string(a.body), `"mail"`) {
		t.Errorf("list: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "GET", path+"/mail", n.admin, ""); a.status != 405 {
		t.Errorf("read: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "DELETE", path+"/mail", n.key(t, "default", picloud.ScopeAppWrite), ""); a.status != 403 {
		t.Errorf("delete with a key that may write: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "DELETE", path+"/mail", n.admin, ""); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
}

// SC-1, SC-6: a script is saved when it can be read, run, and its runs are told.
func TestScriptsAreSavedAndRun(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	js := []string{"Content-Type", "text/javascript"}
	const door = "/v1/apps/default/scripts/door"
	a := n.ask(t, "PUT", door, n.admin, "export default (input) => { console.log('in', input); return { twice: 2 * input } }", js...)
	if a.status != 200 || a.header.Get("ETag") != `"1"` {
		t.Fatalf("save: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "PUT", door, n.admin, "export default (", js...); a.status != 422 || !strings.Contains(string(a.body), "SyntaxError") || !strings.Contains(string(a.body), "app:door:1") {
		t.Errorf("a script that cannot be read: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "PUT", door, n.admin, "1"); a.status != 415 {
		t.Errorf("a script that says it is JSON: %d %s", a.status, a.body)
	}
	a = n.ask(t, "POST", door+"/run", n.key(t, "default", picloud.ScopeAppInvoke), `{"input":21}`)
	var res api.RunResult
	if err := json.Unmarshal(a.body, &res); err != nil || a.status != 200 || string(res.Output) != `{"twice":42}` || res.Outcome != "ok" || len(res.Lines) != 1 || res.Lines[0].Text != "in 21" {
		t.Fatalf("run: %d %s", a.status, a.body)
	}
	a = n.ask(t, "POST", door+"/run", n.admin, `{"export":"other"}`)
	if err := json.Unmarshal(a.body, &res); err != nil || a.status != 200 || res.Outcome != "missing" || !strings.Contains(res.Error, "default") {
		t.Errorf("run of an export that is not there: %d %s", a.status, a.body)
	}
	var runs api.Runs
	a = n.ask(t, "GET", "/v1/apps/default/runs?script=door", n.admin, "")
	if err := json.Unmarshal(a.body, &runs); err != nil || len(runs.Runs) != 2 || runs.Runs[0].ID != res.ID || !strings.HasPrefix(runs.Runs[1].Cause, "key:") {
		t.Fatalf("runs: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "GET", "/v1/apps/default/runs/"+runs.Runs[1].ID, n.admin, ""); a.status != 200 || !strings.Contains(string(a.body), "in 21") {
		t.Errorf("one run: %d %s", a.status, a.body)
	}

	waits := make(chan *answer, 1)
	go func() {
		waits <- n.ask(t, "GET", "/v1/apps/default/runs?wait_sec=30&after="+res.ID, n.admin, "")
	}()
	began := time.Now()
	for len(waits) == 0 { // until one comes when the other already waits
		if a := n.ask(t, "POST", door+"/run", n.admin, `{"input":1}`); a.status != 200 {
			t.Fatalf("run: %d %s", a.status, a.body)
		}
	}
	if a := <-waits; a.status != 200 || !strings.Contains(string(a.body), "in 1") || time.Since(began) > 20*time.Second {
		t.Errorf("after %v: %d %s", time.Since(began), a.status, a.body)
	}
	if a := n.ask(t, "DELETE", door, n.admin, "", "If-Match", `"7"`); a.status != 412 {
		t.Errorf("a version that is not there was deleted: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "DELETE", door, n.admin, ""); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
}
