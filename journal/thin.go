package journal

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// KindThinned marks records that were given up to make room. Its body is that of
// KindLost.
const KindThinned uint8 = 254

// isGap reports whether a record stands for others that are not there.
func isGap(kind uint8) bool { return kind >= KindSkipped }

// Range returns the first and the last LSN that a record of KindLost, KindThinned or
// KindSkipped stands for.
func (r *Record) Range() (first, last LSN) {
	if !isGap(r.Kind) || len(r.Body) != 16 {
		return r.LSN, r.LSN
	}
	return LSN(binary.BigEndian.Uint64(r.Body)), LSN(binary.BigEndian.Uint64(r.Body[8:]))
}

// Thin gives up the records of some keys in a complete segment, durably, and
// returns how many bytes that has freed on the disk. Units stay whole: one that
// has other records as well stays. Readers that are in the segment see it as it
// was. ErrGone when it was dropped; ErrNoSpace when there is no room to write
// what stays. Only the goroutine that appends may call it.
func (j *Journal) Thin(base LSN, give func(key []byte) bool) (freed int64, err error) {
	if err := j.err(); err != nil {
		return 0, err
	}
	old, err := j.pin(base)
	if err != nil {
		return 0, err
	}
	defer j.unpin(old)
	if old == j.active {
		return 0, nil
	}
	b := make([]byte, old.end)
	if _, err := old.file.ReadAt(b, 0); err != nil {
		return 0, fmt.Errorf("read %s: %w", old.name, err)
	}
	body, ok := j.thinned(old, b, give)
	if !ok {
		return 0, nil // damaged, or nothing to give up: leave it as it is
	}
	j.fileMu.Lock()
	defer j.fileMu.Unlock()
	s, err := j.writeSegment(base, body, dataStart+int64(len(body))+old.footerBound(), false)
	if noSpace(err) {
		return 0, fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	if err != nil {
		return 0, j.fail(err) // which of the two files is there is uncertain
	}
	s.thinned = true
	j.mu.Lock()
	j.segments[slices.Index(j.segments, old)] = s
	j.unsealed = append(slices.DeleteFunc(j.unsealed, func(u *segment) bool { return u == old }), s)
	j.replaced = append(j.replaced, old)
	j.decoded.forget(base)
	j.mu.Unlock()
	j.poke()
	return old.size - s.size, nil
}

// thinned returns the records of a segment without those that are given up. It
// is false when none are, or when not all records can be read.
func (j *Journal) thinned(s *segment, b []byte, give func(key []byte) bool) (body []byte, ok bool) {
	want := s.base
	gap := func(upTo LSN) {
		if want < upTo {
			body = appendRecord(body, j.id, &Record{LSN: want, Kind: KindThinned, At: j.cfg.Now().UnixMicro(), Body: lostRange(want, upTo-1)}, false, 0)
			ok = true
		}
	}
	next, given := s.base, false
	for at := int64(dataStart); at < s.end; {
		end, all := at, true // of the unit
		first := next
		for more := true; more; {
			h, valid := parseHead(b[end:])
			if !valid || h.lsn != next || !checkSum(j.id, b[end:], &h) {
				return nil, false
			}
			key := b[end+headSize : end+headSize+int64(h.keyLen)]
			all = all && (h.kind == KindThinned || h.keyLen > 0 && give(key))
			given = given || h.kind != KindThinned && h.keyLen > 0 && give(key)
			next = after(&h, b[end:])
			end += int64(h.length)
			more = h.flags&flagMore != 0 && end < s.end
		}
		if !all {
			gap(first)
			body = append(body, b[at:end]...)
			want = next
		}
		at = end
	}
	gap(next)
	return body, ok && given
}

// footerBound bounds what the footer of a segment with fewer records takes.
func (s *segment) footerBound() int64 {
	n := int64(trailerSize)
	for name, k := range s.keys {
		n += int64(len(name)) + 8*binary.MaxVarintLen64 + int64(k.span.Count)*24
	}
	return (n + 4095) / 4096 * 4096
}

// closeReplaced closes files that another has taken the place of, when no reader
// reads them any more. The caller holds fileMu.
func (j *Journal) closeReplaced() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.replaced = slices.DeleteFunc(j.replaced, func(s *segment) bool {
		if s.refs > 0 {
			return false
		}
		_ = s.file.Close() // only read; its name is gone
		return true
	})
}

// reread looks for a record whose entry is older than the thinning of its
// segment.
func (j *Journal) reread(s *segment, e Entry) (Record, error) {
	b := make([]byte, s.end)
	if _, err := s.file.ReadAt(b, 0); err != nil {
		return Record{}, fmt.Errorf("read %s: %w", s.name, err)
	}
	for at := int64(dataStart); at < s.end; {
		h, ok := parseHead(b[at:])
		if !ok || !checkSum(j.id, b[at:], &h) {
			break
		}
		switch {
		case h.lsn == e.LSN && !isGap(h.kind):
			return h.record(b[at:]), nil
		case after(&h, b[at:]) > e.LSN:
			return Record{}, ErrGone
		}
		at += int64(h.length)
	}
	return Record{}, &DamageError{File: s.name, LSN: e.LSN}
}
