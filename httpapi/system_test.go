package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

const (
	statsPath = "/v1/apps/default/topics/$node%2Fstats"
	syncPath  = "/v1/apps/default/topics/$node%2Fsync"
)

// topicPath returns the path of a topic of the app default.
func topicPath(topic string) string {
	return "/v1/apps/default/topics/" + strings.ReplaceAll(topic, "/", "%2F")
}

// TP-2: names that begin with $ belong to the system: nobody else publishes to
// them, those that the node does not know cannot be registered, those that it
// knows only in the app default, and a state triggers nothing.
func TestSystemTopicsAreTheSystems(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if a := n.ask(t, "POST", "/v1/apps", n.admin, `{"name":"shop"}`); a.status != 201 {
		t.Fatal(a.status)
	}
	if a := n.ask(t, "PUT", "/v1/apps/default/scripts/s", n.admin, "export default () => 1", "Content-Type", "text/javascript"); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		kind, says         string
	}{
		{"POST", statsPath + "/events", `1`, 403, "topic-reserved", "state"},
		{"POST", syncPath + "/events", `1`, 403, "topic-reserved", "begin with '$'"},
		{"POST", "/v1/apps/default/events", `[{"topic":"t","data":1},{"topic":"$any","data":1}]`, 403, "topic-reserved", "event [1]"},
		{"POST", "/v1/apps/default/topics", `{"name":"$board/none"}`, 403, "topic-reserved", "begin with '$'"},
		{"POST", "/v1/apps/shop/topics", `{"name":"$node/sync"}`, 403, "topic-reserved", "begin with '$'"},
		{"PATCH", "/v1/apps/default/topics/$board%2Fnone/external", `{"external":true}`, 404, "topic-not-found", ""},
		{"PATCH", "/v1/apps/shop/topics/$node%2Fstats/external", `{"external":true}`, 404, "topic-not-found", ""},
		{"PUT", "/v1/apps/default/triggers/x", `{"kind":"pubsub","topic":"$node/stats","script":"s"}`, 422, "trigger-invalid", "state"},
		{"PUT", "/v1/apps/default/triggers/x", `{"kind":"pubsub","topic":"$node/sync","script":"s"}`, 200, "", ""},
		{"POST", topicPath(picloud.TopicBoardHealth) + "/events", `1`, 403, "topic-reserved", "state"},
		{"POST", topicPath(picloud.TopicBoardPins) + "/events", `1`, 403, "topic-reserved", "state"},
		{"POST", topicPath(picloud.TopicBoardPower) + "/events", `1`, 403, "topic-reserved", "begin with '$'"},
		{"PUT", "/v1/apps/default/triggers/x", `{"kind":"pubsub","topic":"$board/health","script":"s"}`, 422, "trigger-invalid", "state"},
		{"PUT", "/v1/apps/default/triggers/x", `{"kind":"pubsub","topic":"$board/pins","script":"s"}`, 422, "trigger-invalid", "state"},
		{"PUT", "/v1/apps/default/triggers/x", `{"kind":"pubsub","topic":"$board/power","script":"s"}`, 200, "", ""},
	} {
		a := n.ask(t, c.method, c.path, n.admin, c.body)
		if p := a.problem(); a.status != c.status || !strings.HasSuffix(p.Type, c.kind) || !strings.Contains(p.Detail, c.says) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, a.status, a.body, c.status, c.kind)
		}
	}
	if head, err := n.store.Head("default"); err != nil || head.Seq != 0 {
		t.Errorf("something was stored: %v %v", head, err)
	}
	if a := n.ask(t, "GET", "/v1/apps/default/topics", n.admin, ""); strings.Contains(string(a.body), "$") {
		t.Errorf("registered: %s", a.body)
	}
}

// TP-2, RT-2: both sorts of system topics can be made external and internal
// again, without being registered before, and follow their auth mode.
func TestSystemTopicsCanBeExternal(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for _, path := range []string{statsPath, syncPath, topicPath(picloud.TopicBoardHealth), topicPath(picloud.TopicBoardPins), topicPath(picloud.TopicBoardPower)} {
		missing := n.raw(t, get("/v1/apps/default/topics/none/events", "Accept: text/event-stream"))
		if got := n.raw(t, get(path+"/events", "Accept: text/event-stream")); got != missing {
			t.Errorf("%s: %s, want %s", path, got, missing)
		}
		for _, external := range []bool{true, false, true} {
			a := n.ask(t, "PATCH", path+"/external", n.admin, fmt.Sprintf(`{"external":%v}`, external))
			var topic api.Topic
			if err := json.Unmarshal(a.body, &topic); err != nil || a.status != 200 || topic.External != external || topic.AuthMode != "token" {
				t.Fatalf("%s: %d %s", path, a.status, a.body)
			}
		}
		if a := n.ask(t, "GET", path+"/events", "", "", "Accept", "text/event-stream"); a.status != 401 {
			t.Errorf("%s without a token: %d", path, a.status)
		}
		name := strings.ReplaceAll(strings.TrimPrefix(path, "/v1/apps/default/topics/"), "%2F", "/")
		a := n.ask(t, "POST", "/v1/apps/default/subscriber-tokens", n.admin, fmt.Sprintf(`{"topics":[%q]}`, name))
		var token api.Token
		if err := json.Unmarshal(a.body, &token); err != nil || a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		r := n.sse(t, path+"/events?token="+token.Token)
		if f := frame(t, r); !strings.Contains(f, "event: hello\n") {
			t.Errorf("%s: %q", path, f)
		}
		if path == statsPath {
			n.hub.SetState(picloud.TopicNodeStats, []byte(`{"n":1}`))
			if f := frame(t, r); !strings.HasPrefix(f, `data: {"topic":"$node/stats","data":{"n":1},"published_at":"`) {
				t.Errorf("%q", f)
			}
		}
		n.ask(t, "PATCH", path+"/external", n.admin, `{"external":false}`)
		if f := frame(t, r); !strings.HasPrefix(f, "event: expired\n") {
			t.Errorf("%s made internal: %q", path, f)
		}
		if a := n.ask(t, "PATCH", path, n.admin, `{"auth_mode":"public"}`); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := n.ask(t, "DELETE", path, n.admin, ""); a.status != 204 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

// TP-2, RT-3: topics of the node are those of the app default, for its app:read;
// streams of other apps carry its states for instance:read, and events of
// default nowhere else. A state has no history.
func TestWhoSeesTopicsOfTheNode(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if a := n.ask(t, "POST", "/v1/apps", n.admin, `{"name":"shop"}`); a.status != 201 {
		t.Fatal(a.status)
	}
	n.hub.SetState(picloud.TopicNodeStats, []byte(`{"n":1}`))
	ofDefault := n.key(t, "default", picloud.ScopeAppRead)
	ofShop := n.key(t, "shop", picloud.ScopeAppRead)
	everywhere := n.key(t, "", picloud.ScopeAppRead)
	reader := n.key(t, "", picloud.ScopeAppRead, picloud.ScopeInstanceRead)
	for _, c := range []struct {
		name, app, topics, key string
		status                 int
		kind                   string
	}{
		{"app:read of default", "default", "topic=$node/stats&topic=$node/sync", ofDefault, 200, ""},
		{"app:read of default, elsewhere", "shop", "topic=$node/stats", ofDefault, 404, "topic-not-found"},
		{"app:read of another app", "shop", "topic=t&topic=$node/stats", ofShop, 403, "forbidden"},
		{"an incident among others", "shop", "topic=t&topic=$node/sync", reader, 404, "topic-not-found"},
		{"app:read of another app, in default", "default", "topic=$node/stats", ofShop, 404, "topic-not-found"},
		{"app:read of all apps", "shop", "topic=$node/stats", everywhere, 403, "forbidden"},
		{"instance:read", "shop", "topic=t&topic=$node/stats", reader, 200, ""},
		{"an incident elsewhere", "shop", "topic=$node/sync", reader, 404, "topic-not-found"},
		{"admin", "shop", "topic=$node/stats", n.admin, 200, ""},
		{"unauthenticated", "default", "topic=$node/stats", "", 404, "topic-not-found"},
	} {
		path := "/v1/apps/" + c.app + "/events?" + c.topics
		history := n.ask(t, "GET", path, c.key, "")
		if history.status != c.status || !strings.HasSuffix(history.problem().Type, c.kind) {
			t.Errorf("%s: history %d %s, want %d %s", c.name, history.status, history.body, c.status, c.kind)
		}
		if one, others, several := strings.Cut(c.topics, "&topic="); c.status != 200 && several && history.problem().Topic != others {
			t.Errorf("%s: of %s and %s refused is %q", c.name, one, others, history.problem().Topic)
		}
		if c.status != 200 {
			if a := n.ask(t, "GET", path, c.key, "", "Accept", "text/event-stream"); a.status != c.status || string(a.body) != string(history.body) {
				t.Errorf("%s: stream %d %s", c.name, a.status, a.body)
			}
			continue
		}
		if !strings.Contains(string(history.body), `"events":[]`) {
			t.Errorf("%s: history %s", c.name, history.body)
		}
		r := n.sse(t, path+"&latest=$node/stats", "Authorization: Bearer "+c.key)
		frame(t, r)
		if f := frame(t, r); !strings.HasPrefix(f, `data: {"topic":"$node/stats","data":{"n":1},`) {
			t.Errorf("%s: %q", c.name, f)
		}
	}
}
