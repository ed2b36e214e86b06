package httpapi_test

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/auth"
	"github.com/picloud/picloud/httpapi"
)

// HW-7, AU-6: while a board has never known the time every token, good or bad, gets the
// same 503 that says so and when to come again, and none is issued; a key that expires
// gets it, too, one that does not works. Once the time is known all is as ever.
func TestTokensWithoutATime(t *testing.T) {
	t.Parallel()
	var known atomic.Bool
	known.Store(true)
	n := newNode(t, func(c *httpapi.Config) {
		c.Authority = auth.New(auth.Config{Keys: c.Store, TimeKnown: known.Load})
	})
	made := func(path, body string, into any) {
		t.Helper()
		a := n.ask(t, "POST", path, n.admin, body)
		if err := json.Unmarshal(a.body, into); err != nil || a.status != 201 {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
	}
	var topic api.Topic
	made("/v1/apps/default/topics", `{"name":"door","external":true}`, &topic)
	var token api.Token
	made("/v1/apps/default/subscriber-tokens", `{"topics":["door"]}`, &token)
	var expires, lasts api.CreatedKey
	made("/v1/keys", `{"scopes":["app:read"],"app":"default","ttl_sec":3600}`, &expires)
	made("/v1/keys", `{"scopes":["app:read"],"app":"default"}`, &lasts)

	const stream, list = "/v1/apps/default/topics/door/events", "/v1/apps/default/topics"
	ask := func(path, bearer string) *answer {
		return n.ask(t, "GET", path, bearer, "", "Accept", "text/event-stream")
	}
	unknown := func(what string, a *answer) {
		t.Helper()
		if p := a.problem(); a.status != 503 || !strings.HasSuffix(p.Type, ":clock-unknown") || a.header.Get("Retry-After") != "30" {
			t.Errorf("%s: %d %s, Retry-After %q", what, a.status, a.body, a.header.Get("Retry-After"))
		}
	}
	known.Store(false)
	good := ask(stream, token.Token)
	unknown("a good token", good)
	for name, bad := range map[string]string{"forged": token.Token[:len(token.Token)-4] + "AAAA", "malformed": "x"} {
		if a := ask(stream, bad); string(a.body) != string(good.body) || a.status != good.status {
			t.Errorf("a %s token can be told from a good one: %d %s", name, a.status, a.body)
		}
	}
	unknown("the query form", ask(stream+"?token="+token.Token, ""))
	if a := ask(stream, ""); a.status != 401 {
		t.Errorf("no token: %d %s", a.status, a.body)
	}
	if a := ask("/v1/apps/default/topics/none/events", token.Token); a.status != 404 {
		t.Errorf("a topic that is not there: %d %s", a.status, a.body)
	}
	unknown("a key that expires", ask(list, expires.Text))
	if a := ask(list, expires.Text[:len(expires.Text)-4]+"aaaa"); a.status != 401 {
		t.Errorf("a wrong secret of it: %d %s", a.status, a.body)
	}
	if a := ask(list, lasts.Text); a.status != 200 {
		t.Errorf("a key that does not expire: %d %s", a.status, a.body)
	}
	unknown("issuing a token", n.ask(t, "POST", "/v1/apps/default/subscriber-tokens", n.admin, `{"topics":["door"]}`))
	unknown("a new key that expires", n.ask(t, "POST", "/v1/keys", n.admin, `{"scopes":["app:read"],"ttl_sec":60}`))
	if a := n.ask(t, "POST", "/v1/keys", n.admin, `{"scopes":["app:read"]}`); a.status != 201 {
		t.Errorf("a new key that does not: %d %s", a.status, a.body)
	}
	known.Store(true)
	if f := frame(t, n.sse(t, stream, "Authorization: Bearer "+token.Token)); !strings.Contains(f, "event: hello\n") {
		t.Errorf("once the time is known: %q", f)
	}
	if a := ask(list, expires.Text); a.status != 200 {
		t.Errorf("once the time is known: %d %s", a.status, a.body)
	}
}
