package stats_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/stats"
)

// hub has one stream, which comes and goes. The sockets of the real one cannot
// wait in a bubble of synctest; e2e has both.
type hub struct {
	t *testing.T

	mu      sync.Mutex // guards what follows
	watched chan struct{}
	on      bool
	values  []stats.Stats
	kept    bool
}

func newHub(t *testing.T) *hub {
	t.Helper()
	return &hub{t: t, watched: make(chan struct{})}
}

// SetState implements live.Hub.
func (h *hub) SetState(topic string, data []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if topic != picloud.TopicNodeStats {
		h.t.Errorf("topic %s", topic)
	}
	h.kept = data != nil
	if h.on && h.kept {
		var st stats.Stats
		if err := json.Unmarshal(data, &st); err != nil {
			h.t.Error(err)
		}
		h.values = append(h.values, st)
	}
	return h.on
}

// Watched implements live.Hub.
func (h *hub) Watched(string) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.watched
}

func (h *hub) join() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.on = true
	close(h.watched)
}

func (h *hub) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.on, h.watched = false, make(chan struct{})
}

// take returns the values that came since the last call.
func (h *hub) take() []stats.Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	values := h.values
	h.values = nil
	return values
}

// TP-2: while a stream carries $node/stats its figures come at once and then once
// a second; otherwise nothing is read and no value kept.
func TestOnceASecondWhileWatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, reads := newHub(t), 0
		r := stats.New(stats.Config{Hub: h, Started: time.Now(), Read: func() stats.Counts {
			reads++
			return stats.Counts{Events: uint64(10 * reads), Deliveries: uint64(1000 * reads), Commits: 5, Subscribers: 1}
		}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		for range 2 {
			before := reads
			time.Sleep(time.Hour) //nolint:forbidigo // the clock of the bubble
			if synctest.Wait(); reads != before {
				t.Fatalf("read %d times for no stream", reads-before)
			}
			h.join()
			synctest.Wait()
			if got := h.take(); len(got) != 1 || got[0].EventsPerSec != nil || got[0].Subscribers != 1 {
				t.Errorf("at once: %+v", got)
			}
			time.Sleep(10*time.Second + time.Millisecond) //nolint:forbidigo // the clock of the bubble
			got := h.take()
			if len(got) != 10 {
				t.Fatalf("%d values in 10 seconds", len(got))
			}
			for _, st := range got {
				if *st.EventsPerSec != 10 || *st.DeliveriesPerSec != 1000 || *st.CommitsPerSec != 0 || *st.HeapBytes == 0 || *st.RSSBytes == 0 {
					t.Errorf("%+v", st)
				}
			}
			if uptime := got[9].UptimeSec; uptime < 3600 || uptime > 7300 {
				t.Errorf("up for %d seconds", uptime)
			}
			h.leave()
			time.Sleep(time.Second) //nolint:forbidigo // the clock of the bubble
			if synctest.Wait(); h.kept {
				t.Error("an old value is kept")
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TP-2: the names in $node/stats are the ones that docs/protocol.md lists.
func TestNamesAreStable(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(stats.Stats{})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"uptime_sec":0,"events_total":0,"commits_total":0,"deliveries_total":0,"missed_total":0,"subscribers":0,"subscriber_limit":0,` +
		`"edges_to_frames_total":0,"edge_to_frame_p50_ms":null,"edge_to_frame_p99_ms":null,` +
		`"runs_running":0,"runs_waiting":0,"runs_done_total":0,"runs_failed_total":0,"runs_given_up_total":0,"sync_waiting_records":null,` +
		`"journal_bytes":0,"written_bytes_total":0,"written_bytes_last_day":0,` +
		`"events_per_sec":null,"commits_per_sec":null,"deliveries_per_sec":null,"heap_bytes":null,"rss_bytes":null}`
	if string(b) != want {
		t.Errorf("got %s", b)
	}
}
