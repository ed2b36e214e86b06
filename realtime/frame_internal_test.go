package realtime

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud"
)

// dispatched is one event as a browser hands it to the page.
type dispatched struct{ id, name, data string }

// parseStream parses a whole stream by the rules of the WHATWG: three kinds of
// line ends, fields of the same name, comments, and events without data, which
// are not dispatched.
func parseStream(b []byte) []dispatched {
	text := strings.ReplaceAll(strings.ReplaceAll(string(b), "\r\n", "\n"), "\r", "\n")
	var out []dispatched
	var id, name, data string
	for _, line := range strings.SplitAfter(text, "\n") {
		line, ended := strings.CutSuffix(line, "\n")
		if !ended {
			break // not complete: discarded
		}
		if line == "" {
			if data != "" {
				out = append(out, dispatched{id: id, name: name, data: strings.TrimSuffix(data, "\n")})
			}
			name, data = "", ""
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			name = value
		case "data":
			data += value + "\n"
		case "id":
			if !strings.Contains(value, "\x00") {
				id = value
			}
		}
	}
	return out
}

// RT-5: whatever is published arrives as exactly one event, with its id and its
// data as they were.
func FuzzFrame(f *testing.F) {
	f.Add(`{"a":1}`, "key:ab12cd34ef", uint64(1))
	f.Add(`"\n\nid: 7\ndata: x"`, "local", uint64(1<<53))
	f.Add("\"\u2028\u2029\x7f\"", "a\"\\\n\r\x00é\xff", uint64(0))
	f.Add(` [ 1 , null ] `, "", uint64(1<<64-1))
	f.Fuzz(func(t *testing.T, data, source string, seq uint64) {
		var compact bytes.Buffer
		if json.Compact(&compact, []byte(data)) != nil {
			t.Skip("not JSON")
		}
		e := picloud.Event{
			Position: picloud.Position{Epoch: 3, Seq: seq}, App: "default", Topic: "a/b.c_d-e",
			Data: compact.Bytes(), Source: source, PublishedAt: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
		}
		b := appendFrame(nil, &e)
		if len(b) > frameSize(&e) {
			t.Errorf("frame has %d bytes, bounded by %d", len(b), frameSize(&e))
		}
		got := parseStream(append(b, heartbeat...))
		if len(got) != 1 || got[0].id != e.Position.String() || got[0].name != "" {
			t.Fatalf("parsed %+v", got)
		}
		var env struct {
			Topic, Source string
			Data          json.RawMessage
			PublishedAt   string `json:"published_at"`
		}
		if err := json.Unmarshal([]byte(got[0].data), &env); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(compact.String(), string(env.Data)); diff != "" {
			t.Error(diff)
		}
		if env.Topic != e.Topic || env.PublishedAt != "2026-01-02T03:04:05.000006Z" || (utf8.ValidString(source) && env.Source != source) {
			t.Errorf("envelope %+v", env)
		}
	})
}
