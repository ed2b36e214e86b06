package e2e

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// frame is one event of a stream as a browser would dispatch it; a comment has
// only Comment.
type frame struct {
	Event   string
	ID      string // only when the frame itself carries one
	Data    string
	Retry   string
	Comment string
}

// envelope is the data of a frame that carries an event.
type envelope struct {
	Topic       string          `json:"topic"`
	Data        json.RawMessage `json:"data"`
	PublishedAt string          `json:"published_at"`
	Source      string          `json:"source"`
}

// stream is an open subscription.
type stream struct {
	res    *http.Response
	frames chan frame // closed when the stream has ended
	cancel context.CancelFunc
	err    error // why it ended; read it after frames is closed
}

// streamClient has no overall timeout: streams last.
var streamClient = &http.Client{Transport: &http.Transport{
	DisableCompression: true, DisableKeepAlives: true, ResponseHeaderTimeout: 30 * time.Second,
}}

// openStream subscribes; headers are pairs of name and value.
func openStream(ctx context.Context, url, key string, headers ...string) (*stream, error) {
	return openStreamWith(ctx, streamClient, url, key, headers...)
}

func openStreamWith(ctx context.Context, client *http.Client, url, key string, headers ...string) (*stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		cancel()
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		cancel()
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		cancel()
		return nil, fmt.Errorf("status %d: %s", res.StatusCode, b)
	}
	s := &stream{res: res, frames: make(chan frame, 1024), cancel: cancel}
	go s.read(ctx)
	return s, nil
}

// subscribe opens a stream that must open, and ends it with the test.
func (n *node) subscribe(key, path string, headers ...string) *stream {
	n.t.Helper()
	s, err := openStreamWith(n.t.Context(), cmp.Or(n.client, streamClient), n.url+path, key, headers...)
	if err != nil {
		n.t.Fatalf("subscribe to %s: %v", path, err)
	}
	n.t.Cleanup(s.cancel)
	return s
}

// read parses by the rules of the WHATWG, for the line ends that we send.
func (s *stream) read(ctx context.Context) {
	defer close(s.frames)
	defer s.res.Body.Close()
	sc := bufio.NewScanner(s.res.Body)
	sc.Buffer(nil, 4<<20)
	var f frame
	var data []string
	for sc.Scan() {
		line := sc.Text()
		if line == "" {
			if data != nil || f.Event != "" || f.Comment != "" || f.Retry != "" {
				f.Data = strings.Join(data, "\n")
				select {
				case s.frames <- f:
				case <-ctx.Done():
					s.err = ctx.Err()
					return
				}
			}
			f, data = frame{}, nil
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "":
			f.Comment += value
		case "event":
			f.Event = value
		case "id":
			f.ID = value
		case "data":
			data = append(data, value)
		case "retry":
			f.Retry = value
		}
	}
	s.err = sc.Err()
	if s.err == nil {
		s.err = io.EOF
	}
}

var errQuiet = errors.New("nothing came in time")

// next returns the next frame that is not a comment.
func (s *stream) next(limit time.Duration) (frame, error) {
	timeout := time.After(limit)
	for {
		select {
		case f, ok := <-s.frames:
			if !ok {
				return frame{}, s.err
			}
			if f.Event == "" && f.ID == "" && f.Data == "" {
				continue
			}
			return f, nil
		case <-timeout:
			return frame{}, errQuiet
		}
	}
}

// want returns the next frame, which must be of the given kind: "" for an
// event, otherwise the name of a control frame.
func (s *stream) want(t *testing.T, event string) frame {
	t.Helper()
	f, err := s.next(30 * time.Second)
	if err != nil {
		t.Fatalf("waiting for a frame of kind %q: %v", event, err)
	}
	if f.Event != event {
		t.Fatalf("a frame of kind %q came, want %q: %+v", f.Event, event, f)
	}
	none := strings.Contains(f.Data, `,"node":"`) || strings.HasPrefix(f.Data, `{"topic":"$node/stats"`)
	if (f.ID != "") != (event == "" && !none) { // RT-5
		t.Fatalf("a frame of kind %q has the id %q: events of this node have one, all others have none", event, f.ID)
	}
	return f
}

// seqOf returns the sequence of an id.
func seqOf(tb testing.TB, id string) uint64 {
	tb.Helper()
	_, s, ok := strings.Cut(id, ".")
	seq, err := strconv.ParseUint(s, 10, 64)
	if !ok || err != nil {
		tb.Fatalf("%q is not an id", id)
	}
	return seq
}
