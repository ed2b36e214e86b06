package journal

import (
	"errors"
	"fmt"
)

// KindSkipped marks LSNs that are not used: the records that had them, if there were
// any, cannot be told from ones that were never written. Its body is that of KindLost.
const KindSkipped uint8 = 253

// maxLSN bounds LSNs, far from where adding to one overflows.
const maxLSN LSN = 1 << 53

// maxSkip bounds how far LSNs rise from one record to the next.
const maxSkip LSN = 1 << 40

// Skip passes over all LSNs up to one, durably: the next record has a later one. It is
// for a start, before anything is appended, and does nothing when the journal has come
// further. Without space for that it is made up for by the next Append, which returns
// ErrNoSpace all the same: what it was to append was made for other LSNs.
func (j *Journal) Skip(upTo LSN) error {
	j.skipTo = upTo
	if err := j.skip(); err != nil && !errors.Is(err, ErrNoSpace) {
		return err
	}
	return nil
}

func (j *Journal) skip() error {
	last, upTo := j.Written(), j.skipTo
	if j.skipTo = 0; last < upTo {
		r := Record{Kind: KindSkipped, At: j.cfg.Now().UnixMicro(), Body: lostRange(last+1, upTo)}
		if _, err := j.Append([]Record{r}); err != nil {
			j.skipTo = upTo
			return fmt.Errorf("skip what may have been used: %w", err)
		}
		j.mu.Lock()
		j.active.last = upTo
		j.mu.Unlock()
		j.written.Store(uint64(upTo))
		if err := j.Sync(); err != nil {
			return fmt.Errorf("skip what may have been used: %w", err)
		}
	}
	j.unproven = false
	return nil
}

// SharedUpTo returns the newest record at or before an LSN that a reader can have
// taken from this journal: one that says that it has come into the middle of what was
// skipped or lost has seen records that are not here any more.
func (j *Journal) SharedUpTo(lsn LSN) LSN {
	if lsn >= j.Synced() {
		return lsn
	}
	r, err := j.reader(lsn, markEvery)
	if err != nil {
		return lsn // dropped: it cannot be told
	}
	defer func() { _ = r.Close() }() // only read
	if err := r.seek(); err != nil {
		return lsn
	}
	rec, err := r.Next()
	if first, last := rec.Range(); err == nil && rec.Kind == KindSkipped && first <= lsn && lsn < last {
		return first - 1
	}
	return lsn
}
