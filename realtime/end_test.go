package realtime_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/realtime"
)

// RT-8: departures are noticed without traffic, and nothing is left of them.
func TestDepartureIsNoticedWithoutTraffic(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Shards: 2})
	var streams []*stream
	for i := range 50 {
		s := n.subscribe(t, realtime.Subscription{Topics: []string{fmt.Sprint("t", i%7), "all"}})
		s.expect(t, "hello")
		streams = append(streams, s)
	}
	began := time.Now()
	for _, s := range streams {
		_ = s.conn.Close()
	}
	n.waitFor(t, "everything to be gone", func() bool { st := n.hub.Stats(); return st.Subscribers == 0 && st.Rings == 0 })
	if took := time.Since(began); took > time.Second {
		t.Errorf("noticed after %v", took)
	}
}

// RT-9: a stream ends at its expiry with an expired frame.
func TestStreamEndsAtExpiry(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Heartbeat: time.Second})
	s := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}, Grant: realtime.Grant{Outside: true, Expires: time.Now().Add(2 * time.Second)}})
	s.expect(t, "hello")
	for {
		f := s.must(t)
		if f.comment != "" {
			continue
		}
		if f.event != "expired" || !strings.Contains(f.data, "token") {
			t.Fatalf("frame %+v", f)
		}
		break
	}
	if _, err := s.read(t); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

// DM-8: a clock that is set back keeps no right alive and silences no heartbeat; one
// that is set forward cuts no stream that is merely slow.
func TestStreamsWhenTheClockIsSet(t *testing.T) {
	t.Parallel()
	var shift atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }
	n := newNode(t, realtime.Config{Heartbeat: 300 * time.Millisecond, Now: now})
	ends := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}, Grant: realtime.Grant{Outside: true, Expires: time.Now().Add(3 * time.Second)}})
	ends.expect(t, "hello")
	stays := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}})
	stays.expect(t, "hello")
	shift.Store(-int64(time.Hour))
	for f := ends.must(t); f.event != "expired"; f = ends.must(t) {
		if f.comment == "" {
			t.Fatalf("frame %+v", f)
		}
	}
	for range 3 {
		if f := stays.must(t); f.comment == "" {
			t.Fatalf("frame %+v", f)
		}
	}
}

// RT-9: revocations end matching streams at once and spare the others; shutdown
// says bye.
func TestRevocationAndShutdown(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{})
	outside := n.subscribe(t, realtime.Subscription{Topics: []string{"t", "u"}, Grant: realtime.Grant{Outside: true, SigningKey: "k"}})
	inside := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}, Grant: realtime.Grant{APIKey: "a"}})
	outside.expect(t, "hello")
	inside.expect(t, "hello")
	n.hub.Revoke(picloud.Revocation{App: "default", Topic: "other", OutsideOnly: true})
	n.hub.Revoke(picloud.Revocation{App: "default", SigningKey: "k", At: time.Now().Add(time.Hour)})
	n.hub.Revoke(picloud.Revocation{App: "default", Topic: "u", OutsideOnly: true})
	if f := outside.expect(t, "expired"); f.data != `{"reason":"topic","topic":"u"}` {
		t.Errorf("frame %+v", f)
	}
	n.publish(t, "t", `1`)
	inside.expect(t, "")
	n.stop()
	inside.expect(t, "bye")
	if _, err := inside.read(t); !errors.Is(err, io.EOF) {
		t.Errorf("after bye: %v", err)
	}
}

// RT-9: a right that ends between the decision and the registration is not
// missed.
func TestRecheckEndsTheStream(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{})
	for data, sub := range map[string]realtime.Subscription{
		`{"reason":"topic","topic":"t"}`: {Topics: []string{"t"}, Recheck: func() error { return picloud.ErrTopicNotFound }},
		`{"reason":"topic","topic":"u"}`: {Topics: []string{"t", "u"}, Recheck: func() error { return picloud.ErrTopicNotFound.About("u") }},
		`{"reason":"revoked"}`:           {Topics: []string{"t"}, Recheck: func() error { return picloud.ErrUnauthenticated }},
	} {
		s := n.subscribe(t, sub)
		s.expect(t, "hello")
		if f := s.expect(t, "expired"); f.data != data {
			t.Errorf("frame %+v, want %s", f, data)
		}
	}
}

// RT-4: silence is broken by a comment.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Heartbeat: 200 * time.Millisecond})
	s := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}})
	s.expect(t, "hello")
	if f := s.must(t); f.comment == "" || f.data != "" || f.id != "" {
		t.Errorf("frame %+v", f)
	}
}

// RT-13: limits in total, per app and per address; seats come back.
func TestLimits(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{MaxSubscribers: 4, MaxPerApp: 3, MaxPerAddress: 2})
	take := func(app, address string, want error) *realtime.Seat {
		t.Helper()
		s, err := n.hub.Reserve(app, address)
		if (want == nil) != (err == nil) || (want != nil && picloud.AsError(err).Type != picloud.AsError(want).Type) {
			t.Fatalf("reserve %s %s: %v, want %v", app, address, err, want)
		}
		return s
	}
	a := take("a", "1", nil)
	take("a", "1", nil)
	take("a", "1", realtime.ErrAddressFull)
	take("a", "2", nil)
	take("a", "3", realtime.ErrAppFull)
	take("b", "4", nil)
	take("c", "5", realtime.ErrFull)
	a.Release()
	a.Release()
	take("a", "1", nil)
	take("c", "5", realtime.ErrFull)
}
