package hw

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/board"
)

// relay is a chip with one line, which notes when its level changes.
type relay struct {
	began time.Time

	mu    sync.Mutex
	level bool
	moves []string // such as "120ms on"
	fault error
}

func newRelay() *relay { return &relay{began: time.Now()} }

func (r *relay) open(p *PinConfig) (line, error) {
	if err := r.set(p.Start); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *relay) get() (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.level, r.fault
}

func (r *relay) set(on bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault == nil && on != r.level {
		r.level = on
		r.moves = append(r.moves, fmt.Sprint(time.Since(r.began), " ", onOff(on)))
	}
	return r.fault
}

func (r *relay) Close() error { return nil }

func (r *relay) breakIt(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = err
}

func (r *relay) moved(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, r.moves); diff != "" {
		t.Errorf("the relay has moved (+), wanted (-):\n%s", diff)
	}
}

// pacedLamp is a board whose lamp is on a relay, and has been for long.
func pacedLamp(t *testing.T, p PinConfig) (*Board, *relay) {
	t.Helper()
	r := newRelay()
	b := lamp(p)
	b.chips = r
	if _, err := b.ReadPin("a", "lamp"); err != nil {
		t.Error(err)
	}
	time.Sleep(time.Hour)
	r.began = time.Now()
	return b, r
}

// asked sets the lamp and returns what became of it.
func asked(t *testing.T, b *Board, on bool, pulse time.Duration) board.Pin {
	t.Helper()
	p, err := b.SetPin(t.Context(), board.PinChange{App: "a", Name: "lamp", On: on, For: pulse, By: "local"})
	if err != nil {
		t.Error(err)
	}
	return p
}

const interval = 100 * time.Millisecond

// HW-3: whoever asks for a change too soon is answered when it is made, with the level as
// it is then.
func TestChangeThatComesTooSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r := pacedLamp(t, PinConfig{MinInterval: interval})
		asked(t, b, true, 0)
		time.Sleep(20 * time.Millisecond)
		answered := make(chan board.Pin)
		go func() { answered <- asked(t, b, false, 0) }()
		synctest.Wait()
		if p, err := b.Pin("a", "lamp"); err != nil || !*p.On || !cmp.Equal(p.Pending, &board.Pending{InMS: 80}) {
			t.Errorf("while the change waits: %+v, %+v, %v", p, p.Pending, err)
		}
		if p := <-answered; *p.On || p.Pending != nil || time.Since(r.began) != interval {
			t.Errorf("answered after %v: %+v", time.Since(r.began), p)
		}
		r.moved(t, "0s on", "100ms off")
		time.Sleep(interval)
		asked(t, b, true, 0)
		asked(t, b, true, 0) // which moves nothing
		if got := time.Since(r.began); got != 2*interval {
			t.Errorf("a change that comes late enough waits until %v", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.SetPin(ctx, board.PinChange{App: "a", Name: "lamp"}); !errors.Is(err, context.Canceled) {
			t.Errorf("the caller is gone: %v", err)
		}
		time.Sleep(time.Hour)
		r.moved(t, "0s on", "100ms off", "200ms on", "300ms off")
		if got, want := b.Outputs(), (OutputCounts{App: "a", Pin: "lamp", Changes: 4, Held: 2}); !cmp.Equal(got, []OutputCounts{want}) {
			t.Errorf("counted %+v", got)
		}
	})
}

// HW-3: a change takes the place of one that waits, whose caller is told the level as it
// is; the relay does not move for what came and went between.
func TestNewestChangeCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r := pacedLamp(t, PinConfig{MinInterval: interval})
		asked(t, b, true, 0)
		answered := make(chan board.Pin)
		go func() { answered <- asked(t, b, false, 0) }()
		synctest.Wait()
		asked(t, b, true, 0)
		if p := <-answered; !*p.On || p.Pending != nil || time.Since(r.began) != 0 {
			t.Errorf("the change that was replaced: %v %+v", time.Since(r.began), p)
		}
		time.Sleep(time.Second)
		r.moved(t, "0s on")
	})
}

// HW-3: clients that change an output as fast as they can do not move it more often than
// min_interval says, and the last change counts.
func TestClientsCannotDriveAnOutputTooOften(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r := pacedLamp(t, PinConfig{MinInterval: interval})
		var clients sync.WaitGroup
		for i := range 8 {
			clients.Go(func() {
				for k := 0; time.Since(r.began) < 10*time.Second; k++ {
					asked(t, b, (i+k)%2 == 0, 0)
					time.Sleep(time.Millisecond)
				}
			})
		}
		clients.Wait()
		asked(t, b, true, 0)
		asked(t, b, false, 0)
		if n := len(r.moves); n < 20 || n > 105 || !strings.HasSuffix(r.moves[n-1], " off") {
			t.Errorf("%d moves, the last is %q", n, r.moves[n-1])
		}
	})
}

// HW-3: where the interval is long the answer does not wait: it tells the change that is
// pending.
func TestLongInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r := pacedLamp(t, PinConfig{MinInterval: time.Minute})
		asked(t, b, true, 0)
		time.Sleep(time.Second)
		if p := asked(t, b, false, time.Second); !*p.On || p.ForMS != 0 || !cmp.Equal(p.Pending, &board.Pending{InMS: 59_000, ForMS: 1000}) || time.Since(r.began) != time.Second {
			t.Errorf("%+v, %+v", p, p.Pending)
		}
		time.Sleep(time.Hour)
		r.moved(t, "0s on", "1m0s off", "1m1s on")
	})
}

// HW-3: pulses end in their time, however long min_interval is; one that is held back has
// its whole length, and a change that waits over the end of one waits from there.
func TestPulsesEndInTheirTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r := pacedLamp(t, PinConfig{MinInterval: interval})
		asked(t, b, true, 10*time.Millisecond)
		asked(t, b, true, 30*time.Millisecond) // the later end counts; nothing moves
		time.Sleep(50 * time.Millisecond)
		r.moved(t, "0s on", "30ms off")
		if p := asked(t, b, true, 20*time.Millisecond); !*p.On || p.ForMS != 20 {
			t.Errorf("%+v", p)
		}
		time.Sleep(interval)
		r.moved(t, "0s on", "30ms off", "130ms on", "150ms off")

		time.Sleep(interval) // to 330 ms
		asked(t, b, true, 60*time.Millisecond)
		asked(t, b, true, 0) // ends the pulse, and moves nothing
		go asked(t, b, false, time.Second)
		time.Sleep(time.Hour)
		r.moved(t, "0s on", "30ms off", "130ms on", "150ms off", "330ms on", "430ms off", "1.43s on")
	})
}

// HW-3: what waits when the node stops, or its app is deleted, is not done: the output goes to its state
// for the stop at once.
func TestStopDoesNotWait(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(b *Board, stop func()){
		"app deleted": func(b *Board, _ func()) { b.AppDeleted("a") },
		"node stops":  func(_ *Board, stop func()) { stop() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, r := pacedLamp(t, PinConfig{MinInterval: interval})
				stop := sync.OnceFunc(running(t, b))
				defer stop()
				synctest.Wait()
				asked(t, b, true, 0)
				time.Sleep(time.Millisecond)
				answered := make(chan error)
				go func() {
					_, err := b.SetPin(t.Context(), board.PinChange{App: "a", Name: "lamp", For: 10 * time.Millisecond})
					answered <- err
				}()
				synctest.Wait()
				end(b, stop)
				if err := <-answered; (name == "node stops") != errors.Is(err, board.ErrPinUnavailable) {
					t.Errorf("answered %v", err)
				}
				time.Sleep(time.Second)
				r.moved(t, "0s on", "1ms off")
			})
		})
	}
}

// HW-3: a change that waits for an output which fails meanwhile is refused, as any other is,
// and not made up for later.
func TestHeldChangeOfAFailingOutput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r := pacedLamp(t, PinConfig{MinInterval: interval})
		asked(t, b, true, 0)
		answered := make(chan error)
		go func() {
			_, err := b.SetPin(t.Context(), board.PinChange{App: "a", Name: "lamp", On: false})
			answered <- err
		}()
		synctest.Wait()
		r.breakIt(errors.New("no such device"))
		if err := <-answered; !errors.Is(err, board.ErrPinUnavailable) {
			t.Errorf("answered %v", err)
		}
		r.breakIt(nil)
		time.Sleep(time.Minute)
		if p, err := b.Pin("a", "lamp"); err != nil || p.Pending != nil || *p.On || p.SetBy != "" {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// HW-3: events that come too fast move an output no more often than min_interval says; a contact that
// bounces moves it once, and the last state always comes.
func TestFollowedEventsAreHeldBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRelay()
		b := following(retained{}, PinConfig{MinInterval: interval})
		b.chips = r
		defer running(t, b)()
		synctest.Wait()
		time.Sleep(time.Hour)
		r.began = time.Now()
		seq := uint64(0)
		tell := func(on bool) {
			seq++
			publish(b, seq, fmt.Sprintf(`{"on":%t}`, on))
			synctest.Wait()
		}
		for _, on := range []bool{true, false, true, false, true} {
			tell(on)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		r.moved(t, "0s on")
		tell(false)
		time.Sleep(10 * time.Millisecond)
		tell(true)
		if p, err := b.Pin("a", "lamp"); err != nil || *p.On || !cmp.Equal(p.Pending, &board.Pending{On: true, InMS: 90}) || p.Follow.Event != (picloud.Position{Epoch: 1, Seq: seq}).String() {
			t.Errorf("%+v, %+v, %v", p, p.Pending, err)
		}
		time.Sleep(time.Second)
		r.moved(t, "0s on", "1.005s off", "1.105s on")

		before := len(r.moves)
		for range 5000 {
			tell(false)
			tell(true)
			time.Sleep(time.Millisecond)
		}
		tell(false)
		time.Sleep(interval)
		if n := len(r.moves) - before; n > 52 || !strings.HasSuffix(r.moves[len(r.moves)-1], " off") {
			t.Errorf("%d moves in 5 s, the last is %q", n, r.moves[len(r.moves)-1])
		}
		if got := b.Outputs()[0]; got.Changes != uint64(len(r.moves)) || got.Held < 4000 {
			t.Errorf("counted %+v, moved %d times", got, len(r.moves))
		}
	})
}
