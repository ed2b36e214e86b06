package store_test

import (
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// SR-3: the end of a row goes when the row is written again, so that a key with a long
// life may be set as often as one likes.
func TestEndsOfRowsDoNotPileUp(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	s := start(t, store.Config{Dir: t.TempDir(), Now: clock.Now})
	for range 100 {
		if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: "k", Value: []byte("1"), TTL: 24 * time.Hour}); err != nil {
			t.Fatal(err)
		}
		clock.move(time.Second)
	}
	if n := s.ExpiryRows(); n != 1 {
		t.Errorf("%d rows for the end of one", n)
	}
	if err := s.DeleteEntry(t.Context(), picloud.Deletion{App: "default", Name: "k"}); err != nil || s.ExpiryRows() != 0 {
		t.Errorf("%d rows for the end of none, %v", s.ExpiryRows(), err)
	}
}
