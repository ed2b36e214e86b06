package journal

import (
	"errors"
	"fmt"
	"slices"
)

// Append writes records behind the newest, in one write. They are not durable
// before the next Sync. It sets the LSN of each and returns the first. Only one
// goroutine may append.
//
// ErrTooLarge and ErrNoSpace leave the journal as it was. Any other error is
// final.
func (j *Journal) Append(recs []Record) (LSN, error) {
	if err := j.err(); err != nil {
		return 0, err
	}
	if len(recs) == 0 {
		return j.Written() + 1, nil
	}
	if j.skipTo > 0 {
		if err := j.skip(); err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("%w just now", ErrNoSpace)
	}
	if recs[len(recs)-1].More {
		panic("journal: the last record of an Append has More set")
	}
	var size int64
	for i := range recs {
		if len(recs[i].Key) > MaxKey {
			return 0, fmt.Errorf("%w: key of %d bytes", ErrTooLarge, len(recs[i].Key))
		}
		size += encodedSize(&recs[i])
	}
	if size > j.maxGroup {
		return 0, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, size, j.maxGroup)
	}
	if j.Unsynced()+size > j.maxGroup {
		if err := j.Sync(); err != nil {
			return 0, err
		}
	}
	cost := j.footerCosts(recs)
	if err := j.reserve(j.Written() + LSN(len(recs))); err != nil {
		return 0, err
	}
	if j.tail+size+j.footer+cost+trailerSize > j.active.size && j.tail > dataStart {
		if err := j.roll(); err != nil {
			return 0, err
		}
		cost = j.footerCosts(recs)
	}
	first := j.Written() + 1
	j.encode(recs, first)
	if n, err := j.active.file.WriteAt(j.buf, j.tail); err != nil || n != len(j.buf) {
		return 0, j.fail(fmt.Errorf("write to %s: %w", j.active.name, errors.Join(err, short(n, len(j.buf)))))
	}
	j.index(recs)
	j.footer += cost
	j.durable.bytes += size
	j.unsynced.Add(size)
	j.written.Store(uint64(recs[len(recs)-1].LSN))
	return first, nil
}

func short(n, want int) error {
	if n == want {
		return nil
	}
	return fmt.Errorf("%d of %d bytes written", n, want)
}

// footerCosts bounds what the records add to the footer of the active segment.
func (j *Journal) footerCosts(recs []Record) int64 {
	lsns := j.Written() + LSN(len(recs)) - j.active.base + 1
	var n int64
	for i := range recs {
		if r := &recs[i]; len(r.Key) > 0 {
			_, known := j.active.keys[string(r.Key)] // only the writer changes the map
			known = known || (i > 0 && slices.Equal(r.Key, recs[i-1].Key))
			n += footerCost(lsns, r, !known)
		}
	}
	return n
}

func (j *Journal) encode(recs []Record, first LSN) {
	if cap(j.buf) > 512<<10 && len(j.buf) < 64<<10 {
		j.buf = nil // an exceptional group must not be paid for ever after
	}
	j.buf = j.buf[:0]
	synced := j.Synced()
	for i := range recs {
		recs[i].LSN = first + LSN(i)
		unsynced := uint32(recs[i].LSN - 1 - synced) // #nosec G115 -- bounded by MaxGroup
		j.buf = appendRecord(j.buf, j.id, &recs[i], i > 0 && recs[i-1].More, unsynced)
	}
}

// index makes the records findable.
func (j *Journal) index(recs []Record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range recs {
		r := &recs[i]
		if len(r.Key) > 0 {
			j.active.add(r.Key, Entry{LSN: r.LSN, Seq: r.Seq, At: r.At, Size: uint32(len(r.Body)), offset: uint32(j.tail)}) // #nosec G115 -- bounded by MaxGroup and the segment's size
		}
		j.active.note(r.LSN, j.tail)
		j.tail += encodedSize(r)
	}
	j.active.last, j.active.end = recs[len(recs)-1].LSN, j.tail
}

// Sync makes everything that was appended durable, by one fdatasync. A failure
// is final: the kernel may have dropped what it could not write.
func (j *Journal) Sync() error {
	if err := j.err(); err != nil {
		return err
	}
	if j.Unsynced() == 0 {
		return nil
	}
	if err := j.markDurable(); err != nil {
		return j.fail(err)
	}
	if err := j.active.file.Datasync(); err != nil {
		return j.fail(fmt.Errorf("sync %s: %w", j.active.name, err))
	}
	j.unsynced.Store(0)
	j.mu.Lock()
	j.syncOff, j.syncLSN = j.tail, j.Written()
	j.mu.Unlock()
	j.synced.Store(j.written.Load())
	j.wakeAll()
	return nil
}

// roll goes on in the next segment.
func (j *Journal) roll() error {
	if err := j.Sync(); err != nil {
		return err
	}
	s, err := j.activate(j.Written() + 1)
	if errors.Is(err, ErrNoSpace) {
		return err
	}
	if err != nil {
		return j.fail(err)
	}
	j.mu.Lock()
	j.unsealed = append(j.unsealed, j.active)
	j.segments = append(j.segments, s)
	j.syncOff = dataStart
	j.mu.Unlock()
	j.active, j.tail, j.footer, j.durable = s, dataStart, 0, durable{}
	j.poke()
	return nil
}
