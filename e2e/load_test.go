package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// crashTopics are the fsynced topics of the load; telemetry is apart.
var crashTopics = []string{"load/single", "load/batch", "load/idem"}

const telemetryTopic = "load/telemetry"

// payload is what the load publishes: its publisher and that one's counter.
type payload struct {
	P string `json:"p"`
	N int    `json:"n"`
}

// load is publishers and subscribers at work on a node, and a record of
// everything that they were told.
type load struct {
	t   *testing.T
	n   *node
	key string

	keys  *keyLoad
	files *fileLoad

	mu        sync.Mutex
	acked     map[string]string            // id → data, on fsynced topics
	announced map[string]string            // id → data, on the telemetry topic: answered or seen
	seen      map[string]map[string]string // subscriber → id → data, on fsynced topics
	idem      map[string]receipt           // idempotency key → first answer
	faults    []string
	resets    int
	starts    int // how often publishers were started: they count from 0 each time

	facts    []fact         // what was told of fsynced topics, in the order of telling
	attempts map[string]int // publisher → how many it has sent or is sending
	idemKeys []string       // of idem, in the order of their first answers
}

// fact is an event that somebody was told of.
type fact struct{ id, data string }

func newLoad(t *testing.T, n *node) *load {
	t.Helper()
	for _, topic := range append([]string{telemetryTopic}, crashTopics...) {
		durability := "sync"
		if topic == telemetryTopic {
			durability = "telemetry"
		}
		n.do(201, nil, "POST", "/v1/apps/default/topics", n.key("", "instance:admin"), fmt.Sprintf(
			`{"name":%q,"durability":%q,"retention":{"max_events":1000000,"max_age_sec":86400,"max_bytes":1000000000}}`, topic, durability))
	}
	return &load{
		t: t, n: n, key: n.key("default", "app:publish", "app:read", "app:write"), keys: newKeyLoad(), files: newFileLoad(),
		acked: map[string]string{}, announced: map[string]string{}, seen: map[string]map[string]string{}, idem: map[string]receipt{},
		attempts: map[string]int{},
	}
}

func (l *load) faultf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.faults) < 20 {
		l.faults = append(l.faults, fmt.Sprintf(format, args...))
	}
}

// told notes that the event id was acknowledged or seen with this data: one id
// never stands for two events.
func (l *load) told(into map[string]string, id, data string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, ok := into[id]; ok && before != data {
		l.faults = append(l.faults, fmt.Sprintf("id %s was given to %s and to %s", id, before, data))
	}
	into[id] = data
}

// toldFsynced does the same for an event of an fsynced topic.
func (l *load) toldFsynced(into map[string]string, id, data string) {
	l.told(into, id, data)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.facts = append(l.facts, fact{id, data})
}

// sending notes that a publisher is about to send its events below n.
func (l *load) sending(publisher string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempts[publisher] = max(l.attempts[publisher], n)
}

// start runs publishers and subscribers until ctx ends; the function it returns
// waits for them.
func (l *load) start(ctx context.Context) (wait func()) {
	var wg sync.WaitGroup
	l.starts++
	name := func(publisher string) string { return fmt.Sprintf("%s-%d", publisher, l.starts) }
	for i := range 2 {
		wg.Go(func() { l.publishSingles(ctx, name(fmt.Sprintf("single-%d", i)), crashTopics[0]) })
	}
	wg.Go(func() { l.publishSingles(ctx, name("telemetry"), telemetryTopic) })
	wg.Go(func() { l.publishBatches(ctx, name("batch"), crashTopics[1]) })
	wg.Go(func() { l.publishRepeating(ctx, name("idem"), crashTopics[2]) })
	wg.Go(func() { l.keys.run(ctx, l) })
	wg.Go(func() { l.files.run(ctx, l) })
	return wg.Wait
}

func encode(p payload) string {
	b, _ := json.Marshal(p)
	return string(b)
}

// pause waits a moment, so that a daemon that is away is not hammered.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (l *load) post(path, body string, headers ...string) (answer, bool) {
	a, err := l.n.request("POST", path, l.key, body, headers...)
	if err != nil {
		return answer{}, false
	}
	switch a.status {
	case http.StatusCreated:
		return a, true
	case http.StatusServiceUnavailable: // stopping, or full: nothing was stored
	default:
		l.faultf("POST %s: status %d: %s", path, a.status, a.body)
	}
	return answer{}, false
}

// publishSingles publishes one event at a time and never repeats one.
func (l *load) publishSingles(ctx context.Context, name, topic string) {
	path := "/v1/apps/default/topics/" + strings.ReplaceAll(topic, "/", "%2F") + "/events"
	for i := 0; ctx.Err() == nil; i++ {
		data := encode(payload{name, i})
		l.sending(name, i+1)
		a, ok := l.post(path, data)
		if !ok {
			pause(ctx, 5*time.Millisecond)
			continue
		}
		var r receipt
		if err := json.Unmarshal(a.body, &r); err != nil {
			l.faultf("answer to a publish: %v: %s", err, a.body)
			continue
		}
		if topic == telemetryTopic {
			l.told(l.announced, r.ID, data)
		} else {
			l.toldFsynced(l.acked, r.ID, data)
		}
	}
}

// publishBatches publishes three events at a time, all or none.
func (l *load) publishBatches(ctx context.Context, name, topic string) {
	const size = 3
	for i := 0; ctx.Err() == nil; i += size {
		var items []string
		for j := range size {
			items = append(items, fmt.Sprintf(`{"topic":%q,"data":%s}`, topic, encode(payload{name, i + j})))
		}
		l.sending(name, i+size)
		a, ok := l.post("/v1/apps/default/events", "["+strings.Join(items, ",")+"]")
		if !ok {
			pause(ctx, 5*time.Millisecond)
			continue
		}
		var rs []receipt
		if err := json.Unmarshal(a.body, &rs); err != nil || len(rs) != size {
			l.faultf("answer to a batch: %v: %s", err, a.body)
			continue
		}
		for j, r := range rs {
			l.toldFsynced(l.acked, r.ID, encode(payload{name, i + j}))
		}
	}
}

// publishRepeating repeats every event under its idempotency key until it is
// acknowledged, and now and then repeats one that was acknowledged long ago:
// the first answer comes again, and nothing is stored twice.
func (l *load) publishRepeating(ctx context.Context, name, topic string) {
	path := "/v1/apps/default/topics/" + strings.ReplaceAll(topic, "/", "%2F") + "/events"
	for i := 0; ctx.Err() == nil; i++ {
		n := i
		if i > 0 && rand.IntN(4) == 0 {
			n = rand.IntN(i)
		}
		key := name + "-" + strconv.Itoa(n)
		if n != i {
			i--
		}
		data := encode(payload{name, n})
		l.sending(name, n+1)
		for ctx.Err() == nil {
			a, ok := l.post(path, data, "Idempotency-Key", key)
			if !ok {
				pause(ctx, 5*time.Millisecond)
				continue
			}
			var r receipt
			if err := json.Unmarshal(a.body, &r); err != nil {
				l.faultf("answer to a publish: %v: %s", err, a.body)
				break
			}
			l.mu.Lock()
			first, again := l.idem[key]
			l.idem[key] = r
			if !again {
				l.idemKeys = append(l.idemKeys, key)
			}
			l.mu.Unlock()
			if again && first != r {
				l.faultf("the repeat of %s answers %+v, the first answer was %+v", key, r, first)
			}
			l.toldFsynced(l.acked, r.ID, data)
			break
		}
	}
}

// follow subscribes to topics without loss until ctx ends, resuming after every
// break. until, once it is set, ends it at that id as well.
func (l *load) follow(ctx context.Context, name string, topics []string, until func() string) {
	seen := map[string]string{}
	l.mu.Lock()
	l.seen[name] = seen
	l.mu.Unlock()
	url := l.n.url + "/v1/apps/default/events?lossless=1&since=all&topic=" + strings.Join(topics, "&topic=")
	last := ""
	for ctx.Err() == nil {
		var headers []string
		if last != "" {
			headers = []string{"Last-Event-ID", last}
		}
		s, err := openStream(ctx, url, l.key, headers...)
		if err != nil {
			pause(ctx, 10*time.Millisecond)
			continue
		}
		last = l.drain(s, name, seen, last, until)
		s.cancel()
		if stop := until(); stop != "" && last != "" && seqOf(l.t, last) >= seqOf(l.t, stop) {
			return
		}
	}
}

// drain reads one stream to its end and returns the last id.
func (l *load) drain(s *stream, name string, seen map[string]string, last string, until func() string) string {
	opened := false
	for {
		f, err := s.next(300 * time.Millisecond)
		if errors.Is(err, errQuiet) {
			if stop := until(); stop != "" && last != "" && seqOf(l.t, last) >= seqOf(l.t, stop) {
				return last
			}
			continue
		}
		if err != nil {
			return last
		}
		switch f.Event {
		case "":
			if last != "" && seqOf(l.t, f.ID) <= seqOf(l.t, last) {
				l.faultf("%s: %s came after %s", name, f.ID, last)
			}
			if !opened {
				l.faultf("%s: an event came before the hello frame", name)
			}
			last = f.ID
			var e envelope
			if err := json.Unmarshal([]byte(f.Data), &e); err != nil {
				l.faultf("%s: %v: %s", name, err, f.Data)
				continue
			}
			if e.Topic == telemetryTopic {
				l.told(l.announced, f.ID, string(e.Data))
			} else {
				l.toldFsynced(seen, f.ID, string(e.Data))
			}
		case "hello":
			opened = true
		case "bye":
		case "gap", "reset":
			l.faultf("%s: a %s frame in a lossless stream that resumed after %s: %s", name, f.Event, last, f.Data)
			l.mu.Lock()
			l.resets++
			l.mu.Unlock()
			if f.Event == "reset" {
				last = ""
			}
		default:
			l.faultf("%s: unexpected frame %+v", name, f)
		}
	}
}

// check holds the history against everything that anybody was told.
func (l *load) check() {
	l.t.Helper()
	for _, f := range l.keys.check(l.n, l.key, l.keys.told(), l.keys.asked) {
		l.t.Error(f)
	}
	for _, f := range l.files.check(l.n, l.key, l.files.told(), l.files.asked) {
		l.t.Error(f)
	}
	// What was told so far, before the history is read: the load goes on
	// meanwhile.
	l.mu.Lock()
	acked, announced := maps.Clone(l.acked), maps.Clone(l.announced)
	saw := map[string]map[string]string{}
	for name, seen := range l.seen {
		saw[name] = maps.Clone(seen)
	}
	l.mu.Unlock()
	topics := append([]string{telemetryTopic}, crashTopics...)
	history := l.n.history(l.key, "default", topics...)
	byID := make(map[string]event, len(history))
	lastN := map[string]int{}
	for _, e := range history {
		byID[e.ID] = e
		var p payload
		if err := json.Unmarshal(e.Data, &p); err != nil {
			l.t.Fatalf("event %s: %v: %s", e.ID, err, e.Data)
		}
		// Every publisher counts upwards and waits for its answer: its events
		// are in its order, and none is there twice.
		if before, ok := lastN[p.P]; ok && p.N <= before {
			l.t.Errorf("event %s: %s published %d after %d", e.ID, p.P, p.N, before)
		}
		lastN[p.P] = p.N
	}
	for id, data := range acked {
		if e, ok := byID[id]; !ok || string(e.Data) != data {
			l.t.Errorf("acknowledged event %s %s: the history has %q", id, data, e.Data)
		}
	}
	for id, data := range announced {
		if e, ok := byID[id]; ok && string(e.Data) != data { // PB-9
			l.t.Errorf("id %s was announced for %s and stands for %s", id, data, e.Data)
		}
	}
	for name, seen := range saw {
		for id, data := range seen {
			if e, ok := byID[id]; !ok || string(e.Data) != data {
				l.t.Errorf("%s has seen %s %s: the history has %q", name, id, data, e.Data)
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.faults {
		l.t.Error(f)
	}
	l.faults = nil
}

// complete checks that a subscriber has seen every fsynced event of its topics.
func (l *load) complete(name string, topics []string) {
	l.t.Helper()
	history := l.n.history(l.key, "default", topics...)
	missing := 0
	for _, e := range history {
		if e.Topic == telemetryTopic {
			continue
		}
		if _, ok := l.seen[name][e.ID]; !ok {
			missing++
		}
	}
	if missing > 0 {
		l.t.Errorf("%s has missed %d of %d events", name, missing, len(history))
	}
	l.t.Logf("%s has seen %d events", name, len(l.seen[name]))
}
