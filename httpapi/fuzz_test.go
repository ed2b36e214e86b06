package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/picloud/picloud"
)

// Whatever a body holds, it is taken, or refused with a problem that says why;
// what is refused leaves nothing behind.
func FuzzBodies(f *testing.F) {
	routes := []string{
		"POST /v1/apps", "PATCH /v1/apps/default", "POST /v1/apps/default/topics", "PATCH /v1/apps/default/topics/t",
		"PATCH /v1/apps/default/topics/t/external", "POST /v1/apps/default/topics/t/events", "POST /v1/apps/default/events",
		"POST /v1/apps/default/subscriber-tokens", "POST /v1/apps/default/signing-keys/rotate", "POST /v1/keys",
	}
	n := newNode(f)
	if _, err := n.store.CreateTopic(f.Context(), picloud.Topic{App: "default", Name: "t", External: true}); err != nil {
		f.Fatal(err)
	}
	for i, body := range []string{
		`{"name":"shop","allowed_origins":["*"]}`, `{"description":null}`, `{"name":"a","retention":{"max_events":1e99}}`,
		`{"external":true}`, `{"external":1}`, `[1,{"a":"\u0000"}]`, `[{"topic":"t","data":null},{"topic":"t"}]`, `{"topics":["t"],"ttl_sec":-1}`,
		`{"overlap_sec":9223372036854775807}`, `{"scopes":["app:read"],"app":"default","expires_at":"0001-01-01T00:00:00Z"}`, `{`, `"\xff"`, `[[[[[[`,
	} {
		f.Add(uint8(i%len(routes)), []byte(body), "application/json") // #nosec G115 -- small
	}
	f.Add(uint8(5), []byte(`{"a":1}`), "text/plain")
	f.Fuzz(func(t *testing.T, route uint8, body []byte, kind string) {
		if len(body) == 0 || strings.ContainsAny(kind, "\r\n\x00") || !printable(kind) {
			return
		}
		method, path, _ := strings.Cut(routes[int(route)%len(routes)], " ")
		a := n.ask(t, method, path, n.admin, string(body), "Content-Type", kind)
		judge(t, a)
		if a.status == http.StatusCreated && !json.Valid(a.body) {
			t.Errorf("%s %s answers %q", method, path, a.body)
		}
	})
}

// Whatever the query and the headers of a history or a stream hold: an answer,
// or a problem that says why.
func FuzzEventsQuery(f *testing.F) {
	n := newNode(f)
	if _, err := n.store.CreateTopic(f.Context(), picloud.Topic{App: "default", Name: "t", External: true, AuthMode: picloud.AuthPublic}); err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"all", "latest", "10m", "7d", "99999d", "-1s", "2026-01-31T08:00:00Z", "00c3a91e42.1289", "ffffffffff.18446744073709551615", "1e9h", "", "\x00"} {
		f.Add("since", s, s)
		f.Add("after", s, "")
		f.Add("last_event_id", s, "")
		f.Add("limit", s, "")
		f.Add("topic", s, "")
		f.Add("token", s, "")
	}
	f.Fuzz(func(t *testing.T, name, value, id string) {
		if !printable(id) {
			return
		}
		query := url.Values{name: {value}, "topic": {"t"}}.Encode()
		judge(t, n.ask(t, "GET", "/v1/apps/default/events?"+query, "", ""))
		// A HEAD goes the whole way of a stream up to the stream itself.
		a := n.ask(t, "HEAD", "/v1/apps/default/events?"+query, "", "", "Accept", "text/event-stream", "Last-Event-ID", id)
		if a.status != 200 && (a.status < 400 || a.status >= 500) {
			t.Errorf("a stream with %s and %q answers %d", query, id, a.status)
		}
	})
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// judge checks that an answer is one of those that are meant for bad input, and
// a problem document.
func judge(t *testing.T, a *answer) {
	t.Helper()
	switch {
	case a.status < 300:
	case a.status < 500:
		if p := a.problem(); p.Title == "" || p.Status != a.status {
			t.Errorf("status %d with %q", a.status, a.body)
		}
	default:
		t.Errorf("status %d: %q", a.status, a.body)
	}
}
