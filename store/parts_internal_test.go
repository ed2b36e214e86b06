package store

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/picloud/picloud"
)

// SR-1: a command that removes large rows holds none of them.
func TestRemovingLargeRowsHoldsNoData(t *testing.T) { //nolint:paralleltest // the heap is that of the whole process
	dir := t.TempDir()
	s, stop := open(t, dir)
	const rows, size = 300, 100_000
	var keys []string
	for i := range rows {
		key := fmt.Sprint("k", i)
		if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: key, Value: []byte(`"` + strings.Repeat("x", size) + `"`)}); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, pair("default", key))
	}
	stop()
	idle, err := Open(Config{Dir: dir, ReserveBytes: -1, SegmentSize: 512 << 10})
	if err == nil {
		err = errors.Join(idle.checkpointNow(), idle.Close()) // which takes them out of memory
	}
	if err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, dir)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc) // #nosec G115 -- bytes of memory
	}
	enough := errors.New("enough was seen")
	var before, held int64
	err = s.do(t.Context(), "", func(tx *tx) error {
		before = heap()
		for _, k := range keys {
			tx.remove(tableKV, k)
		}
		held = heap() - before
		return enough
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	if held > rows*size/4 {
		t.Errorf("removing %d rows of %d bytes holds %d", rows, size, held)
	}
	if u, err := s.Usage("default"); err != nil || u.Data.Items != rows {
		t.Errorf("after a command that failed %+v, %v", u.Data, err)
	}
}

// SR-2: deleting much is done in parts, between which others have their turn.
func TestDeletionsLeaveTurns(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir())
	if _, err := s.CreateApp(t.Context(), picloud.App{Name: "large"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SaveCollection(t.Context(), picloud.Collection{App: "large", Name: "c", Indexes: []string{"a", "b"}}); err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		if _, err := s.PutDocument(t.Context(), picloud.DocumentChange{App: "large", Collection: "c", ID: fmt.Sprint(i), Body: fmt.Appendf(nil, `{"a":%d,"b":"%d"}`, i, i)}); err != nil {
			t.Fatal(err)
		}
	}
	deleted := make(chan error, 1)
	go func() { deleted <- s.DeleteCollection(t.Context(), "large", "c") }()
	for turns := 0; ; turns++ {
		if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: "k", Value: []byte("1")}); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-deleted:
			if err != nil || turns < 4 {
				t.Errorf("there were %d turns while 3000 documents were deleted, %v", turns, err)
			}
			return
		default:
		}
	}
}

// A state.db that is full is told.
func TestFullStateIsTold(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir())
	if h := s.Health(); h.Degraded {
		t.Fatalf("health %+v", h)
	}
	s.space.state.Store(true)
	if h := s.Health(); !h.Degraded || len(h.Notes) != 1 {
		t.Errorf("health %+v", h)
	}
}
