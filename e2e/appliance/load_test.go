package appliance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// load publishes until it is stopped, each event over a connection of its own, and reads
// them from a stream that resumes.
type load struct {
	a     appliance
	topic string
	stop  context.CancelFunc // of publishing
	leave context.CancelFunc // of the stream
	wait  sync.WaitGroup     // for publishers
	gone  sync.WaitGroup     // for the stream

	mu   sync.Mutex     // guards what follows
	sure []string       // was acknowledged
	bad  []error        // of requests that were not
	seen map[string]int // how often an event came in the stream
	open int            // how often the stream was opened
}

func (a appliance) load(topic string) *load {
	a.Helper()
	a.cli("topics", "create", topic)
	publishing, stop := context.WithCancel(context.Background())
	reading, leave := context.WithCancel(context.Background())
	l := &load{a: a, topic: topic, stop: stop, leave: leave, seen: map[string]int{}}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	for worker := range 4 {
		l.wait.Go(func() {
			for i := 0; publishing.Err() == nil; i++ {
				l.publish(client, fmt.Sprintf(`"%d/%d"`, worker, i))
			}
		})
	}
	l.gone.Go(func() {
		for last := ""; reading.Err() == nil; {
			last = l.follow(reading, last)
		}
	})
	l.more(100)
	return l
}

// more waits until so many more events are acknowledged.
func (l *load) more(count int) {
	l.a.Helper()
	sure := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.sure)
	}
	before := sure()
	l.a.until("load", func() bool { return sure() >= before+count })
}

func (l *load) publish(client *http.Client, data string) {
	err := l.a.publish(client, l.topic, data)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.sure = append(l.sure, data)
		return
	}
	l.bad = append(l.bad, err)
	time.Sleep(10 * time.Millisecond) //nolint:forbidigo // one that is refused does not hammer
}

// follow reads the stream to its end, from an id on, and returns the last id.
func (l *load) follow(ctx context.Context, last string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/apps/default/topics/"+l.topic+"/events?lossless=1&since=all", nil)
	if err != nil {
		return last
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+l.a.key)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		time.Sleep(10 * time.Millisecond) //nolint:forbidigo // as above
		return last
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return last
	}
	l.mu.Lock()
	l.open++
	l.mu.Unlock()
	var id, kind, data string
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			data = value
		case "": // the frame is whole
			if id != "" {
				last = id
			}
			if kind == "" && data != "" {
				l.saw(data)
			}
			id, kind, data = "", "", ""
		}
	}
	return last
}

func (l *load) saw(frame string) {
	var e struct{ Data json.RawMessage }
	if err := json.Unmarshal([]byte(frame), &e); err != nil {
		l.a.Errorf("%v: %s", err, frame)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[string(e.Data)]++
}

// end stops the load and checks that all it was told is in the history, and came once in the
// stream; refused says whether requests may have failed.
func (l *load) end(refused bool) {
	l.a.Helper()
	l.stop()
	l.wait.Wait()
	defer l.gone.Wait()
	defer l.leave()
	if len(l.bad) > 0 && !refused {
		l.a.Errorf("%d of %d requests failed, such as: %v", len(l.bad), len(l.bad)+len(l.sure), l.bad[0])
	}
	there := map[string]bool{}
	for line := range strings.Lines(l.a.cli("events", l.topic, "--limit", "1000000", "--json")) {
		var e struct{ Data json.RawMessage }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			l.a.Fatalf("%v: %s", err, line)
		}
		there[string(e.Data)] = true
	}
	missing := 0
	for _, data := range l.sure {
		if !there[data] {
			missing++
		}
	}
	if missing > 0 {
		l.a.Errorf("%d of %d acknowledged events are missing", missing, len(l.sure))
	}
	l.a.until("all events in the stream", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.seen) >= len(there)
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	for data, times := range l.seen {
		if times != 1 || !there[data] {
			l.a.Errorf("%s came %d times in the stream; in the history: %v", data, times, there[data])
		}
	}
	l.a.Logf("%d events were acknowledged, %d requests failed, the stream was opened %d times", len(l.sure), len(l.bad), l.open)
}

func (a appliance) publish(client *http.Client, topic, data string) error {
	return a.publishTo(client, url, topic, data)
}

// publishTo publishes an event at a base URL.
func (a appliance) publishTo(client *http.Client, base, topic, data string) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, base+"/v1/apps/default/topics/"+topic+"/events", strings.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusCreated {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}
