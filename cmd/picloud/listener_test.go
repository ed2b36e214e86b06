package main

import (
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// RT-6: a listener comes back with the cursor of the hello frame, which the older
// ids of the newest events do not move back, and asks again for the newest event
// of the topics that it has none of.
func TestListenerResumes(t *testing.T) {
	t.Parallel()
	const hello = "retry: 1000\nevent: hello\ndata: {\"resume\":\"0000000001.9\",\"heartbeat_sec\":30}\n\n"
	event := func(id, topic string) string {
		return "id: " + id + "\ndata: {\"topic\":\"" + topic + "\",\"data\":1}\n\n"
	}
	for name, c := range map[string]struct {
		since  string
		stream string
		cursor string
		query  url.Values
	}{
		"nothing came":     {"latest", "", "", url.Values{"topic": {"a", "b"}, "since": {"latest"}}},
		"no event":         {"latest", hello, "0000000001.9", url.Values{"topic": {"a", "b"}, "latest": {"a", "b"}}},
		"some of latest":   {"latest", hello + event("0000000001.3", "a"), "0000000001.9", url.Values{"topic": {"a", "b"}, "latest": {"b"}}},
		"all of latest":    {"latest", hello + event("0000000001.3", "a") + event("0000000001.12", "b"), "0000000001.12", url.Values{"topic": {"a", "b"}}},
		"an id alone":      {"10m", hello + "id: 0000000001.10\n\n", "0000000001.10", url.Values{"topic": {"a", "b"}}},
		"another history":  {"", hello + event("0000000002.1", "a"), "0000000002.1", url.Values{"topic": {"a", "b"}}},
		"reset":            {"", hello + "event: reset\ndata: {\"position\":\"0000000003.4\"}\n\n", "0000000003.4", url.Values{"topic": {"a", "b"}}},
		"did not begin":    {"all", "event: hello\ndata: {\"resume\":null}\n\n", "", url.Values{"topic": {"a", "b"}, "since": {"all"}}},
		"no id of its own": {"", hello + "data: {\"topic\":\"a\",\"data\":1}\n\n", "0000000001.9", url.Values{"topic": {"a", "b"}}},
	} {
		l := &listener{c: &cli{out: &output{w: io.Discard}, err: io.Discard}, topics: []string{"a", "b"}, since: c.since}
		if err := l.read(strings.NewReader(c.stream), func() {}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.query, l.query()); l.cursor != c.cursor || diff != "" {
			t.Errorf("%s: cursor %q, query %s", name, l.cursor, diff)
		}
	}
}
