package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// A board may boot in 1970, and its clock may be set forward and back: order is
// by position and never by time, nothing is lost or doubled, and a restart in
// any of these years changes nothing.
func TestClockIsSetForwardAndBack(t *testing.T) {
	t.Parallel()
	dir, clk := t.TempDir(), newClock()
	cfg := store.Config{Dir: dir, Now: clk.Now, Retention: picloud.Retention{MaxAge: 200 * 365 * 24 * time.Hour}}
	s := start(t, cfg)
	for i, jump := range []time.Duration{
		0, -time.Second, -55 * 365 * 24 * time.Hour, time.Minute, 55 * 365 * 24 * time.Hour, 24 * time.Hour, -24 * time.Hour, 20 * 365 * 24 * time.Hour, -20 * 365 * 24 * time.Hour,
	} {
		clk.move(jump)
		e := publish(t, s, "default", "t", fmt.Sprint(i))[0]
		if e.Seq != uint64(2*i+1) { // #nosec G115 -- small
			t.Fatalf("after a jump of %v: position %d, want %d", jump, e.Seq, 2*i+1)
		}
		if !e.PublishedAt.Equal(clk.Now().UTC().Truncate(time.Microsecond)) {
			t.Errorf("after a jump of %v: published at %v, the clock says %v", jump, e.PublishedAt, clk.Now())
		}
		again, err := s.Publish(t.Context(), picloud.Publication{App: "default", By: picloud.LocalOperator(), IdempotencyKey: fmt.Sprint("k", i), Drafts: []picloud.Draft{{Topic: "other", Data: []byte("1")}}})
		if err != nil || len(again) != 1 {
			t.Fatal(err)
		}
		repeat, err := s.Publish(t.Context(), picloud.Publication{App: "default", By: picloud.LocalOperator(), IdempotencyKey: fmt.Sprint("k", i), Drafts: []picloud.Draft{{Topic: "other", Data: []byte("1")}}})
		if err != nil || repeat[0].Position != again[0].Position {
			t.Errorf("after a jump of %v the repeat got %+v, %v, first %+v", jump, repeat, err, again)
		}
		if i%3 == 2 {
			s.stop(t)
			s = start(t, cfg)
		}
		if got := history(t, s, "default", "t"); len(got) != i+1 {
			t.Fatalf("after a jump of %v: history %v, want %d events", jump, got, i+1)
		}
		if err := s.CheckPosition("default", []string{"t"}, e.Position); err != nil {
			t.Errorf("after a jump of %v: %v", jump, err)
		}
	}
	last := uint64(0)
	page, err := s.Events(t.Context(), picloud.HistoryQuery{App: "default", Topics: []string{"t"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range page.Events {
		if e.Seq <= last || string(e.Data) != fmt.Sprint(i) {
			t.Errorf("event %d is %d with %s", i, e.Seq, e.Data)
		}
		last = e.Seq
	}
}
