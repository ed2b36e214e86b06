package httpapi_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

// RT-2: anybody may list the public topics of an app, and sees nothing else of it: not those that are internal or need a
// token, and not whether there is an app.
func TestPublicTopics(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if _, err := n.store.CreateApp(context.Background(), picloud.App{Name: "closed", AllowedOrigins: []string{"https://x.example"}}); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []picloud.Topic{
		{App: "default", Name: "door", Description: "The door", External: true, AuthMode: picloud.AuthPublic},
		{App: "default", Name: picloud.TopicBoardHealth, External: true, AuthMode: picloud.AuthPublic},
		{App: "default", Name: "token", External: true},
		{App: "default", Name: "internal", AuthMode: picloud.AuthPublic},
		{App: "closed", Name: "internal", AuthMode: picloud.AuthPublic},
	} {
		if _, err := n.store.CreateTopic(context.Background(), topic); err != nil {
			t.Fatal(err)
		}
	}
	a := n.ask(t, "GET", "/v1/apps/default/public-topics", "", "")
	var got api.PublicTopics
	if err := json.Unmarshal(a.body, &got); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	want := api.PublicTopics{Topics: []api.PublicTopic{{Name: picloud.TopicBoardHealth}, {Name: "door", Description: "The door"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	none := n.ask(t, "GET", "/v1/apps/none/public-topics", "", "", "Origin", "https://x.example")
	closed := n.ask(t, "GET", "/v1/apps/closed/public-topics", "", "", "Origin", "https://x.example")
	none.header.Del("Date")
	closed.header.Del("Date")
	if none.status != 200 || string(none.body) != `{"topics":[]}`+"\n" && string(none.body) != `{"topics":[]}` {
		t.Errorf("of an app that does not exist: %d %q", none.status, none.body)
	}
	if diff := cmp.Diff(none.header, closed.header); diff != "" || none.status != closed.status || string(none.body) != string(closed.body) {
		t.Errorf("an app without public topics differs from none: %s\n%s", closed.body, diff)
	}
}
