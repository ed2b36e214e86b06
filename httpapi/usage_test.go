package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

// SR-2, SR-3: an anonymous caller that fills the card with requests to be answered later is
// told when to come back. A caller with a key is not refused for that, nor is publishing;
// the app and the node say what is kept.
func TestAnonymousCallersCannotFillTheCard(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if a := n.ask(t, "PUT", "/v1/apps/default/scripts/s", n.admin, "export default () => 1", "Content-Type", "text/javascript"); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := n.ask(t, "PUT", "/v1/apps/default/endpoints/e", n.admin, `{"path":"/e","method":"POST","script":"s","auth":"public"}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	later := func(key string) *answer {
		return n.ask(t, "POST", "/apps/default/e", key, "1", "Prefer", "respond-async")
	}
	accepted := 0
	a := later("")
	for ; a.status == 202 && accepted < 1000; a = later("") {
		accepted++
	}
	if a.status != 429 || a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), "results-full") || accepted == 0 {
		t.Errorf("after %d requests: %d %s", accepted, a.status, a.body)
	}
	if a := later(n.key(t, "default", picloud.ScopeAppInvoke)); a.status != 202 {
		t.Errorf("with a key: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "POST", "/v1/apps/default/topics/t/events", n.admin, "1"); a.status != 201 {
		t.Errorf("publishing: %d %s", a.status, a.body)
	}
	var app api.App
	if err := json.Unmarshal(n.ask(t, "GET", "/v1/apps/default", n.admin, "").body, &app); err != nil {
		t.Fatal(err)
	}
	if u := app.Usage; u == nil || u.Anonymous.Items != int64(accepted) || u.Results.Items != 1 || u.TopicNames.Items != 1 || u.Scripts.Items != 2 {
		t.Errorf("usage %+v", u)
	}
	var node api.Node
	if err := json.Unmarshal(n.ask(t, "GET", "/v1/node", n.admin, "").body, &node); err != nil {
		t.Fatal(err)
	}
	if len(node.Notes) != 1 || !strings.Contains(node.Notes[0], "quota.anonymous_result_bytes") || node.Status != "ok" {
		t.Errorf("%s, notes %q", node.Status, node.Notes)
	}
	list := n.ask(t, "GET", "/v1/apps", n.key(t, "default", picloud.ScopeAppPublish), "")
	if list.status != 200 || strings.Contains(string(list.body), "usage") {
		t.Errorf("a key that publishes is told %s", list.body)
	}
}
