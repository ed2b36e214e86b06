package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/picloud/picloud/api"
)

// TR-1: what a trigger can be told over HTTP, and how slips are told.
func TestTriggersAreSaved(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if a := n.ask(t, "PUT", "/v1/apps/default/scripts/s", n.admin, "export default () => 1", "Content-Type", "text/javascript"); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	const path = "/v1/apps/default/triggers/t"
	a := n.ask(t, "PUT", path, n.admin, `{"kind":"cron","script":"s","schedule":"0 8 * * *","time_zone":"Europe/Berlin","retry":{"attempts":3,"first_sec":0.5},"timeout_sec":2.5,"enabled":false}`)
	var tr api.Trigger
	if err := json.Unmarshal(a.body, &tr); err != nil || a.status != 200 || tr.CatchUp != "one" || tr.Retry.Attempts != 3 || tr.Retry.FirstSec != 0.5 || tr.Retry.MaxSec != 300 || tr.TimeoutSec != 2.5 || tr.Concurrency != 1 || *tr.Enabled || tr.Status.Waiting != 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
	for body, want := range map[string]string{
		`{"kind":"cron","script":"s","schedule":"x"}`:                       "schedule",
		`{"kind":"cron","script":"s"}`:                                      "schedule",
		`{"kind":"kv","script":"s","topic":"x"}`:                            "prefix",
		`{"kind":"pubsub","script":"none"}`:                                 "push it first",
		`{"kind":"pubsub","script":"s","topic":"a","prefix":"b"}`:           "exclude",
		`{"kind":"pubsub","script":"s","topic":"a b"}`:                      "byte 2",
		`{"kind":"smoke","script":"s"}`:                                     "dead_letter",
		`{"kind":"kv","script":"s"}`:                                        "is of kind cron",
		`{"kind":"kv","script":"s","timeout_sec":1e9}`:                      "timeout_sec",
		`{"kind":"kv","script":"s","concurrency":1000}`:                     "concurrency",
		`{"kind":"kv","script":"s","retry":{"attempts":-1}}`:                "attempts",
		`{"kind":"dead_letter","script":"s","source":"t"}`:                  "never becomes",
		`{"kind":"cron","script":"s","schedule":"@daily","catch_up":"all"}`: "catch_up",
	} {
		if a := n.ask(t, "PUT", path, n.admin, body); a.status != 422 || !strings.Contains(string(a.body), want) {
			t.Errorf("%s: %d %s, want a word about %s", body, a.status, a.body, want)
		}
	}
	if a := n.ask(t, "DELETE", "/v1/apps/default/scripts/s", n.admin, ""); a.status != 409 {
		t.Errorf("a script that is in use was deleted: %d %s", a.status, a.body)
	}
	for _, body := range []string{`{}`, `{"all":true,"trigger":"t"}`} {
		if a := n.ask(t, "POST", "/v1/apps/default/dead-letters/purge", n.admin, body); a.status != 400 {
			t.Errorf("purge %s: %d %s", body, a.status, a.body)
		}
	}
	if a := n.ask(t, "POST", "/v1/apps/default/dead-letters/redrive", n.admin, `{"ids":["x"]}`); a.status != 404 {
		t.Errorf("redrive of what is not there: %d %s", a.status, a.body)
	}
	// One that is disabled tells what enabling it would set off, and setting it without
	// a word about that leaves it disabled.
	for _, step := range []string{`{"kind":"kv","script":"s","prefix":"x"}`, "", `{"kind":"kv","script":"s","prefix":"x","enabled":false}`, `{"kind":"kv","script":"s","prefix":"y"}`} {
		if step == "" {
			n.ask(t, "PUT", "/v1/apps/default/kv/x1", n.admin, "1")
		} else if a = n.ask(t, "PUT", "/v1/apps/default/triggers/other", n.admin, step); a.status != 200 {
			t.Errorf("%s: %d %s", step, a.status, a.body)
		}
	}
	var other api.Trigger
	if err := json.Unmarshal(a.body, &other); err != nil || *other.Enabled || other.Status.Waiting != 1 {
		t.Errorf("%s", a.body)
	}
	if a := n.ask(t, "DELETE", path, n.admin, ""); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
}
