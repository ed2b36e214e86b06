package live_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/live"
	"github.com/picloud/picloud/realtime"
)

var _ live.Hub = (*realtime.Hub)(nil)

// hub has one stream, which comes and goes. The sockets of the real one cannot
// wait in a bubble of synctest; e2e has both.
type hub struct {
	mu      sync.Mutex // guards what follows
	watched chan struct{}
	on      bool
	values  []string
	kept    bool
}

// SetState implements live.Hub.
func (h *hub) SetState(_ string, data []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.kept = data != nil; h.on && h.kept {
		h.values = append(h.values, string(data))
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
func (h *hub) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	values := h.values
	h.values = nil
	return values
}

func want(t *testing.T, what string, got []string, values ...string) {
	t.Helper()
	synctest.Wait()
	if !slices.Equal(got, values) {
		t.Errorf("%s: %v, want %v", what, got, values)
	}
}

// TP-2: a change of a state is sent at once, those within the time after it as one value; a
// value that is as the one before is not sent; with no stream nothing is measured.
func TestChangesAreCoalesced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &hub{watched: make(chan struct{})}
		var level, measured atomic.Int32
		changed := make(chan struct{}, 1)
		change := func() {
			level.Add(1)
			select {
			case changed <- struct{}{}:
			default:
			}
		}
		s := live.State{
			Hub: h, Topic: "$board/pins", Every: time.Second, Changed: changed, Apart: 100 * time.Millisecond, OnlyChanges: true,
			Measure: func(bool) (any, error) {
				measured.Add(1)
				return level.Load(), nil
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		sleep := func(d time.Duration) {
			time.Sleep(d) //nolint:forbidigo // the clock of the bubble
			synctest.Wait()
		}
		sleep(time.Hour)
		h.join()
		synctest.Wait()
		want(t, "at once", h.take(), "0")
		sleep(10 * time.Second)
		want(t, "without a change", h.take())
		if n := measured.Load(); n < 10 || n > 12 {
			t.Errorf("measured %d times in 10 seconds", n)
		}
		sleep(500 * time.Millisecond)
		change()
		synctest.Wait()
		want(t, "at a change", h.take(), "1")
		for range 49 { // in 49 ms
			change()
			sleep(time.Millisecond)
		}
		want(t, "at many changes", h.take())
		sleep(60 * time.Millisecond)
		want(t, "after many changes", h.take(), "50")
		sleep(time.Second)
		want(t, "and then", h.take())
		h.leave()
		sleep(time.Second)
		if measured.Store(0); h.kept {
			t.Error("an old value is kept")
		}
		change()
		sleep(time.Hour)
		if n := measured.Load(); n != 0 {
			t.Errorf("measured %d times for no stream", n)
		}
		h.join()
		synctest.Wait()
		want(t, "for the next stream", h.take()[:1], "51")
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A state that cannot be measured is an error of its producer.
func TestErrorOfMeasure(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	h := &hub{watched: make(chan struct{})}
	h.join()
	s := live.State{Hub: h, Topic: "$x", Every: time.Hour, Measure: func(bool) (any, error) { return nil, broken }}
	if err := s.Run(t.Context()); !errors.Is(err, broken) {
		t.Error(err)
	}
}
