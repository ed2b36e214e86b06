package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// newBoard makes a node that may have so many MiB of memory of its own, as on a board
// with little more.
func newBoard(t *testing.T, mib int) *node {
	t.Helper()
	n := newNode(t, "PICLOUD_HTTP_MAX_PER_ADDRESS=2000", "PICLOUD_REALTIME_MAX_PER_ADDRESS=2000", "PICLOUD_STORAGE_RESERVE_BYTES=-1")
	n.plain = true
	n.wrap = []string{"prlimit", fmt.Sprintf("--data=%d", mib<<20)}
	n.start()
	return n
}

// anonymous returns how many MiB of memory the daemon has that is not a file's; 0: it has
// ended.
func (n *node) anonymous() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.process().cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kib float64
		if _, err := fmt.Sscanf(line, "RssAnon: %f kB", &kib); err == nil {
			return kib / 1024
		}
	}
	return 0
}

// calm is an app whose publisher and subscriber ask for little, beside whatever else the
// node is made to do.
type calm struct {
	took []time.Duration // from publishing to the frame
	err  error
}

// calmly publishes and subscribes until ctx ends. Every event has to be taken, and to
// come.
func calmly(ctx context.Context, n *node, publish, read string) *calm {
	c := new(calm)
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s, err := openStream(life, n.url+"/v1/apps/calm/topics/t/events", read)
	if err != nil {
		return &calm{err: err}
	}
	hello := <-s.frames
	if hello.Event != "hello" {
		return &calm{err: fmt.Errorf("the first frame is %+v, the stream ended with %w", hello, s.err)}
	}
	for i := 0; ctx.Err() == nil; i++ {
		began := time.Now()
		a, err := n.request("POST", "/v1/apps/calm/topics/t/events", publish, fmt.Sprint(i))
		if err != nil || a.status != http.StatusCreated {
			c.err = fmt.Errorf("event %d: %d %s %w", i, a.status, a.body, err)
			return c
		}
		for {
			f, ok := <-s.frames
			if !ok {
				c.err = fmt.Errorf("the stream ended before event %d: %w", i, s.err)
				return c
			}
			if f.Comment != "" {
				continue
			}
			var e envelope
			if err := json.Unmarshal([]byte(f.Data), &e); err != nil || string(e.Data) != fmt.Sprint(i) {
				c.err = fmt.Errorf("instead of event %d came %.200q", i, f.Data)
				return c
			}
			break
		}
		c.took = append(c.took, time.Since(began))
		pause(ctx, 5*time.Millisecond)
	}
	return c
}

func (c *calm) p99() time.Duration {
	slices.Sort(c.took)
	return c.took[len(c.took)*99/100]
}

// held returns what requests make the node hold.
func (n *node) held(key string) (bytes, refused int, err error) {
	var b struct {
		Memory struct {
			Held    int `json:"held_bytes"`
			Refused int `json:"refused_since_start"`
		}
	}
	a, err := n.request("GET", "/v1/node", key, "")
	if err == nil {
		err = json.Unmarshal(a.body, &b)
	}
	return b.Memory.Held, b.Memory.Refused, err
}

// atRest is how many MiB a node has that has worked and does so no more. It keeps the names
// of thousands of topics by then.
const atRest = 32

// settles deletes the triggers, whose backlog would go on, and waits until nothing is held
// and the memory is that of a node at rest.
func (v *victim) settles(t *testing.T) {
	t.Helper()
	v.do(204, nil, "DELETE", "/v1/apps/default/triggers/slow", v.admin, "")
	for i := range failing {
		v.do(204, nil, "DELETE", fmt.Sprint("/v1/apps/default/triggers/t", i), v.admin, "")
	}
	deadline := time.Now().Add(time.Minute)
	for {
		held, refused, err := v.held(v.admin)
		now := v.anonymous()
		if err == nil && held == 0 && now <= atRest {
			t.Logf("at rest it has %.1f MiB; %d draws were refused", now, refused)
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%d bytes are held, the node has %.1f MiB (%v)", held, now, err)
			return
		}
		pause(t.Context(), 200*time.Millisecond)
	}
}

// SR-1, SR-2, SR-4: a board with little memory survives each requester doing its worst.
// Another app is served meanwhile, in the end nothing is held, and it starts again. It
// does not run beside other tests, which it would slow down.
func TestBoardSurvives(t *testing.T) {
	for _, mib := range []int{512, 256} {
		t.Run(fmt.Sprintf("%dMiB", mib), func(t *testing.T) {
			v := newVictim(newBoard(t, mib))
			v.do(201, nil, "POST", "/v1/apps", v.admin, `{"name":"calm"}`)
			publish, read := v.key("calm", "app:publish"), v.key("calm", "app:read")
			quiet, done := context.WithTimeout(t.Context(), 2*time.Second)
			alone := calmly(quiet, v.node, publish, read)
			done()
			if alone.err != nil {
				t.Fatal(alone.err)
			}
			for _, h := range hostiles {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				beside := make(chan *calm)
				go func() { beside <- calmly(ctx, v.node, publish, read) }()
				most := make(chan float64)
				go func() {
					m := 0.0
					for ctx.Err() == nil {
						m = max(m, v.anonymous())
						pause(ctx, 20*time.Millisecond)
					}
					most <- m
				}()
				v.suffer(ctx, h)
				c, m := <-beside, <-most
				cancel()
				if c.err != nil {
					t.Errorf("%s, %s: the calm app: %v", h.holder, h.requester, c.err)
				} else {
					t.Logf("%-11s %-26s at most %5.1f MiB; p99 of the calm app %v, alone %v", h.holder, h.requester, m, c.p99().Round(time.Microsecond), alone.p99().Round(time.Microsecond))
				}
				select {
				case <-v.process().exited:
					t.Fatalf("%s, %s: the node has ended\n%s", h.holder, h.requester, v.process().log)
				default:
				}
			}
			v.settles(t)
			v.kill()
			v.start()
			v.stop()
		})
	}
}

// SR-4: the same with all of them at once: PICLOUD_E2E_HOSTILE=20m for longer. It does not
// run beside other tests, which it would slow down.
func TestHostileSoak(t *testing.T) {
	long := 2 * time.Minute
	if s := os.Getenv("PICLOUD_E2E_HOSTILE"); s != "" {
		var err error
		if long, err = time.ParseDuration(s); err != nil {
			t.Fatalf("PICLOUD_E2E_HOSTILE: %v", err)
		}
	}
	v := newVictim(newBoard(t, 512))
	v.do(201, nil, "POST", "/v1/apps", v.admin, `{"name":"calm"}`)
	publish, read := v.key("calm", "app:publish"), v.key("calm", "app:read")
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	beside := make(chan *calm)
	go func() { beside <- calmly(ctx, v.node, publish, read) }()
	v.suffer(ctx, hostiles...)
	c := <-beside
	if c.err != nil {
		t.Errorf("the calm app: %v\n%s", c.err, v.process().log)
	} else {
		t.Logf("p99 of the calm app %v, %d events", c.p99(), len(c.took))
	}
	v.settles(t)
	if code := v.stop(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	v.start()
}
