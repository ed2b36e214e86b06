package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// SC-5: a request that is accepted has a result, waiting and then done, for a day;
// not more wait than are bounded, and those of an endpoint that is deleted fail.
func TestResultsOfRequests(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	s := start(t, store.Config{Dir: t.TempDir(), Now: clock.Now})
	if _, err := s.SaveScript(t.Context(), picloud.Script{App: "default", Name: "s", Source: "//"}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	e, err := s.SaveEndpoint(t.Context(), picloud.Endpoint{App: "default", Name: "e", Path: "/x", Script: "s"})
	if err != nil {
		t.Fatal(err)
	}
	keyed := []byte(`{"about":{"caller":{"kind":"key","name":"k"}}}`)
	var ids []string
	for range 1000 {
		id, err := s.Accept(t.Context(), e, keyed)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if _, err := s.Accept(t.Context(), e, keyed); !errors.Is(err, picloud.ErrBusy) {
		t.Errorf("one more: %v", err)
	}
	is := func(id, want, output string) {
		t.Helper()
		r, err := s.Result("default", id)
		if err != nil || r.State != want || string(r.Output) != output {
			t.Errorf("the result is %s %q, %v, want %s %q", r.State, r.Output, err, want, output)
		}
	}
	is(ids[0], picloud.ResultWaiting, "")
	set, stop := s.ResultSet("default", ids[0])
	defer stop()
	if err := s.SetResult(t.Context(), "default", ids[0], picloud.Result{State: picloud.ResultDone, Output: []byte("7")}); err != nil {
		t.Fatal(err)
	}
	<-set
	is(ids[0], picloud.ResultDone, "7")
	if err := s.DeleteEndpoint(t.Context(), "default", "e"); err != nil {
		t.Fatal(err)
	}
	is(ids[999], picloud.ResultFailed, "")
	clock.move(25 * time.Hour)
	if _, err := s.Result("default", ids[0]); !errors.Is(err, picloud.ErrResultNotFound) {
		t.Errorf("after a day the result is still there: %v", err)
	}
}
