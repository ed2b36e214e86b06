package realtime

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/picloud/picloud"
)

// frameSize bounds the size of an event's frame.
func frameSize(e *picloud.Event) int {
	return len(e.Data) + len(e.Topic) + 6*(len(e.Source)+len(e.Node)) + 200
}

// appendFrame encodes an event as a Server-Sent Event: its id, and as data one
// line with the envelope. Data is compact JSON, which has no line breaks. An
// event of another node has its id in the envelope: a browser that resumes must
// name a place in the history of this one.
func appendFrame(b []byte, e *picloud.Event) []byte {
	if e.Node == "" { // the history here knows no others
		b = append(b, "id: "...)
		b, _ = e.AppendText(b) // cannot fail
		b = append(b, '\n')
	}
	return appendEnvelope(b, e, e.Node != "")
}

// appendEnvelope encodes an event without an id line, and with its id in the
// envelope if it has one to be told there.
func appendEnvelope(b []byte, e *picloud.Event, withID bool) []byte {
	b = append(b, "data: {\"topic\":\""...)
	b = append(b, e.Topic...) // the letters of a topic need no escaping
	b = append(b, "\",\"data\":"...)
	b = append(b, e.Data...)
	b = append(b, ",\"published_at\":\""...)
	b = e.PublishedAt.AppendFormat(b, picloud.TimeLayout)
	b = append(b, "\",\"source\":"...)
	b = appendJSONText(b, e.Source)
	if e.Stamp != nil {
		b = append(b, ",\"clock\":\"unsynced\""...)
	}
	if e.Node != "" {
		b = append(b, ",\"node\":"...)
		b = appendJSONText(b, e.Node)
	}
	if withID {
		b = append(b, ",\"id\":\""...)
		b, _ = e.AppendText(b) // cannot fail
		b = append(b, '"')
	}
	return append(b, "}\n\n"...)
}

func appendJSONText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil {
				panic(err) // strings always can be
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// heartbeat is a comment: it keeps connections and proxies awake.
var heartbeat = []byte(": heartbeat\n\n")

// hello is the data of the first frame.
type hello struct {
	Node         string   `json:"node"`
	App          string   `json:"app"`
	Topics       []string `json:"topics"`
	HeartbeatSec float64  `json:"heartbeat_sec"`
	Resume       *string  `json:"resume"` // the cursor the stream begins at; nil: it ended before it had begun
	Newest       *string  `json:"newest"` // the newest id of the app; nil: as above
	Time         string   `json:"time"`   // of the node
	Resumed      bool     `json:"resumed"`
	Lossless     bool     `json:"lossless"`
}

// appendControl encodes a control frame. Control frames never carry an id: the
// browser's Last-Event-ID stays that of the last event.
func appendControl(b []byte, name string, data any) []byte {
	text, err := json.Marshal(data)
	if err != nil {
		panic(fmt.Sprintf("encode %s frame: %v", name, err)) // only our own types
	}
	b = append(b, "event: "...)
	b = append(b, name...)
	b = append(b, "\ndata: "...)
	b = append(b, text...)
	return append(b, "\n\n"...)
}

// appendID encodes an id without an event. A browser keeps it and dispatches
// nothing: it resumes there although no event has come yet.
func appendID(b []byte, id string) []byte {
	b = append(b, "id: "...)
	b = append(b, id...)
	return append(b, "\n\n"...)
}

func appendRetry(b []byte, d time.Duration) []byte {
	b = append(b, "retry: "...)
	b = strconv.AppendInt(b, d.Milliseconds(), 10)
	return append(b, '\n')
}

// The data of the other control frames.
type (
	gap struct {
		Missed uint64 `json:"missed"`
		After  string `json:"after"`
		Next   string `json:"next"`
		Until  string `json:"until"`

		Topics map[string]uint64 `json:"topics"` // how many of each
	}
	reset struct {
		Reason   string `json:"reason"`
		Position string `json:"position"`
	}
	ending struct {
		Reason string `json:"reason"`
		Topic  string `json:"topic,omitempty"` // whose end it is, where that is one topic's
	}
)

// Reasons in the data of expired frames.
const (
	reasonToken   = "token"   // the token's time is over
	reasonRevoked = "revoked" // the key was revoked or rotated away
	reasonTopic   = "topic"   // the topic was deleted or made internal, or the app deleted
)

// Reasons in the data of bye frames. Coming back is right for both.
const (
	reasonShutdown = "shutdown" // the node stops
	reasonError    = "error"    // something went wrong; the history has what is missing
)

// ResponseHead returns the head of the HTTP response that begins a stream. The
// body has no length: it ends with the connection. With an origin, a script of
// that origin may read it.
func ResponseHead(origin string) []byte {
	b := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-store\r\n" +
		"X-Accel-Buffering: no\r\nConnection: close\r\nX-Content-Type-Options: nosniff\r\nVary: Origin\r\n")
	if origin != "" {
		b = append(b, "Access-Control-Allow-Origin: "...)
		b = append(b, origin...)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}
