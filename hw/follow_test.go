package hw

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/board"
)

// retained is the newest event of the topic door of app a; without data there is none.
type retained struct {
	seq  uint64
	data string
}

func (r retained) event() picloud.Event {
	return picloud.Event{App: "a", Topic: "door", Position: picloud.Position{Epoch: 1, Seq: r.seq}, Data: []byte(r.data)}
}

// Latest implements History.
func (r retained) Latest(_ context.Context, app string, topics []string) ([]picloud.Event, error) {
	switch {
	case app != "a":
		return nil, picloud.ErrAppNotFound
	case r.data == "" || !cmp.Equal(topics, []string{"door"}):
		return nil, nil
	}
	return []picloud.Event{r.event()}, nil
}

// follower returns a board whose lamp follows the topic door.
func following(h History, p PinConfig) *Board {
	p.Follow = "door"
	if p.FollowPath == "" {
		p.FollowPath = DefaultFollowPath
	}
	b := lamp(p)
	b.cfg.History = h
	return b
}

// publish hands an event of the topic door to the board, as the committer does.
func publish(b *Board, seq uint64, data string) {
	events := []picloud.Event{retained{seq, data}.event()}
	b.Committed(events)
	clear(events) // the committer uses its slice again
}

// HW-3: an output is taken into use at what the newest event says, and follows those
// that are committed from then on; other topics and apps do not concern it.
func TestOutputFollowsATopic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bn := &bench{}
		b := following(retained{7, `{"on":true}`}, PinConfig{Invert: true})
		b.chips = bn
		if p, err := b.Pin("a", "lamp"); err != nil || p.Fault != errStarting.Error() || p.On != nil {
			t.Errorf("before the history has been read: %+v, %v", p, err)
		}
		stop := running(t, b)
		synctest.Wait()
		publish(b, 8, `{"on":false}`)
		synctest.Wait()
		publish(b, 9, `{"on":true}`)
		synctest.Wait()
		publish(b, 8, `{"on":false}`) // it is older
		b.Committed([]picloud.Event{
			{App: "b", Topic: "door", Position: picloud.Position{Seq: 100}, Data: []byte(`{"on":false}`)},
			{App: "a", Topic: "gate", Position: picloud.Position{Seq: 101}, Data: []byte(`{"on":false}`)},
		})
		synctest.Wait()
		p, err := b.Pin("a", "lamp")
		want := board.Follow{Topic: "door", Path: "/on", Event: picloud.Position{Epoch: 1, Seq: 9}.String()}
		if err != nil || p.SetBy != "topic:door" || !cmp.Equal(p.Follow, &want) {
			t.Errorf("%+v, %+v, %v", p, p.Follow, err)
		}
		if err := set(b, "a", "lamp", false); !errors.Is(err, board.ErrPinFollows) {
			t.Errorf("set by hand: %v", err)
		}
		stop()
		publish(b, 10, `{"on":true}`)
		synctest.Wait()
		if diff := cmp.Diff([]string{"open GPIO22 on", "set GPIO22 off", "set GPIO22 on", "set GPIO22 off", "close GPIO22"}, bn.log); diff != "" {
			t.Error(diff)
		}
	})
}

// HW-3: events that come while the output is being set are skipped for the newest.
func TestNewestEventCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := following(retained{}, PinConfig{})
		defer running(t, b)()
		synctest.Wait()
		for seq := range uint64(1001) {
			publish(b, seq+1, fmt.Sprintf(`{"on":%t}`, seq%2 == 0))
		}
		expect(t, b, true, 0)
	})
}

// HW-3: without an event the output is as it starts, and so it is for an app that does
// not exist; an event that says nothing leaves it as it is, and is told.
func TestEventsThatSayNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := new(bytes.Buffer)
		b := following(retained{}, PinConfig{Start: true})
		b.log = slog.New(slog.NewTextHandler(log, nil))
		stop := running(t, b)
		expect(t, b, true, 0)
		if p, _ := b.Pin("a", "lamp"); p.SetBy != "" || p.Follow.Event != "" || p.Follow.Fault != "" {
			t.Errorf("%+v, %+v", p, p.Follow)
		}
		publish(b, 1, `{"on":false}`)
		expect(t, b, false, 0)
		for i, data := range []string{`{"on":1}`, `{"on":"true"}`, `{"on":null}`, `{}`, `[true]`, `true`, `null`, `{"On":true}`, `{"on":{"on":true}}`} {
			publish(b, uint64(i+2), data)
			expect(t, b, false, 0)
			if p, _ := b.Pin("a", "lamp"); p.Follow.Fault == "" || p.Follow.Event != (picloud.Position{Epoch: 1, Seq: uint64(i + 2)}).String() {
				t.Errorf("%s: %+v", data, p.Follow)
			}
		}
		publish(b, 20, `{"on":true}`)
		expect(t, b, true, 0)
		for i := range uint64(1000) {
			publish(b, 21+i, []string{`{"on":true}`, `{"on":9}`}[i%2])
		}
		publish(b, 2000, `{"on":true}`)
		expect(t, b, true, 0)
		if n := strings.Count(log.String(), "does not say"); n != 1 {
			t.Errorf("told %d times", n)
		}
		if p, _ := b.Pin("a", "lamp"); p.Follow.Fault != "" {
			t.Errorf("%+v", p.Follow)
		}
		stop()

		b = following(retained{7, `{"lit":true}`}, PinConfig{})
		stop = running(t, b)
		expect(t, b, false, 0)
		if p, _ := b.Pin("a", "lamp"); p.Follow.Fault == "" || p.Follow.Event == "" {
			t.Errorf("at the start: %+v", p.Follow)
		}
		stop()
		b = New(Config{Driver: DriverSim, History: retained{}, Pins: []PinConfig{{App: "later", Name: "lamp", Line: "GPIO22", Output: true, Follow: "door"}}})
		stop = running(t, b)
		synctest.Wait()
		if p, err := b.Pin("later", "lamp"); err != nil || p.On == nil || *p.On {
			t.Errorf("app that does not exist: %+v, %v", p, err)
		}
		stop()
	})
}

// HW-3: the pointer finds true and false anywhere in the data.
func TestFollowPath(t *testing.T) {
	t.Parallel()
	for path, data := range map[string]string{
		"": `true`, "/on": `{"on":true}`, "/lamps/1/on": `{"lamps":[{"on":false},{"on":true}]}`, "/0": `[true]`, "/a~1b/~0": `{"a/b":{"~":true}}`, "/": `{"":true}`,
	} {
		p := PinConfig{App: "a", Name: "lamp", Line: "GPIO22", Output: true, Follow: "door", FollowPath: path}
		b := New(Config{Driver: DriverSim, History: retained{7, data}, Pins: []PinConfig{p}})
		b.recall(t.Context())
		if got, err := b.Pin("a", "lamp"); err != nil || !*got.On || got.Follow.Fault != "" {
			t.Errorf("%q in %s: %+v, %v", path, data, got, err)
		}
	}
	for path, data := range map[string]string{"/01": `[false,true]`, "/-": `[true]`, "/2": `[true]`, "/on/0": `{"on":true}`, "/a": `[true]`} {
		p := PinConfig{App: "a", Name: "lamp", Output: true, Follow: "door", FollowPath: path}
		b := New(Config{Driver: DriverSim, History: retained{7, data}, Pins: []PinConfig{p}})
		b.recall(t.Context())
		if got, err := b.Pin("a", "lamp"); err != nil || *got.On || got.Follow.Fault == "" {
			t.Errorf("%q in %s: %+v, %v", path, data, got, err)
		}
	}
}

// HW-3: a chip that comes back finds the output at what its topic has said meanwhile.
func TestFollowingOverAFaultOfTheChip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bn := &bench{}
		b := following(retained{7, `{"on":false}`}, PinConfig{})
		b.chips = bn
		stop := running(t, b)
		synctest.Wait()
		bn.breakIt(errors.New("no chip"), errors.New("no such device"))
		publish(b, 8, `{"on":true}`)
		const notAtATick = 500 * time.Millisecond
		time.Sleep(checkEvery + notAtATick)
		bn.breakIt(nil, nil)
		time.Sleep(retryEvery)
		bn.breakIt(errors.New("no chip"), errors.New("no such device"))
		time.Sleep(checkEvery)
		bn.breakIt(nil, nil)
		time.Sleep(checkEvery)
		stop()
		want := []string{"open GPIO22 off", "set GPIO22 on", "close GPIO22", "open GPIO22 on", "close GPIO22", "open GPIO22 on", "set GPIO22 off", "close GPIO22"}
		if diff := cmp.Diff(want, bn.log); diff != "" {
			t.Error(diff)
		}
	})
}

// HW-3: the outputs of an app that was deleted go to their state for the stop, with or
// without a topic; an app of the same name is followed again.
func TestOutputsOfADeletedApp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Driver: DriverSim, History: retained{7, `{"on":true}`}, Pins: []PinConfig{
			{App: "a", Name: "lamp", Line: "1", Output: true, Follow: "door", FollowPath: "/on"},
			{App: "a", Name: "heater", Line: "2", Output: true, Start: true},
			{App: "a", Name: "fan", Line: "3", Output: true, Stop: true},
			{App: "b", Name: "heater", Line: "4", Output: true, Start: true},
		}})
		defer running(t, b)()
		expect(t, b, true, 0)
		if _, err := b.SetPin(context.Background(), board.PinChange{App: "a", Name: "heater", On: true, For: time.Hour}); err != nil {
			t.Error(err)
		}
		b.AppDeleted("a")
		expect(t, b, false, 0)
		levels := map[string]bool{}
		for _, app := range []string{"a", "b"} {
			for _, p := range b.Pins(app) {
				levels[app+" "+p.Name] = *p.On
				if p.ForMS != 0 || app == "a" && p.SetBy != "system" || p.Follow != nil && p.Follow.Event != "" {
					t.Errorf("%+v, %+v", p, p.Follow)
				}
			}
		}
		if diff := cmp.Diff(map[string]bool{"a lamp": false, "a heater": false, "a fan": true, "b heater": true}, levels); diff != "" {
			t.Error(diff)
		}
		publish(b, 9, `{"on":true}`)
		expect(t, b, true, 0)
	})
}
