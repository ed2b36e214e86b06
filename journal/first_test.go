package journal_test

import (
	"bytes"
	"testing"

	"github.com/picloud/picloud/journal"
	"github.com/picloud/picloud/journal/journaltest"
)

// OP-3: a new journal is there after a quarter of a segment has been written, the largest
// group fits into that, and the next segment is a whole one.
func TestFirstSegmentIsSmall(t *testing.T) {
	t.Parallel()
	fs := journaltest.New()
	cfg := journal.Config{Dir: dir, FS: fs}
	j, _, err := journal.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if size := len(fs.ReadFile(firstSegment)); size > journal.DefaultSegmentSize/3 {
		t.Errorf("it has %d bytes", size)
	}
	large := func() {
		t.Helper()
		rec := journal.Record{Kind: 1, Body: bytes.Repeat([]byte{1}, journal.MaxGroup-100)}
		if _, err := j.Append([]journal.Record{rec}); err != nil {
			t.Fatal(err)
		}
		if err := j.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	large()
	large()
	if s := j.Segments(); len(s) != 2 || s[0].Last != 1 || s[1].Bytes != journal.DefaultSegmentSize {
		t.Errorf("segments %+v", s)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, rec, err := journal.Open(cfg); err != nil || rec.Last != 2 || len(rec.Damage) > 0 {
		t.Errorf("%+v, %v", rec, err)
	}
}
