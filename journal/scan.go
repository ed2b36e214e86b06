package journal

import "encoding/binary"

// run is a stretch of valid records without a gap.
type run struct {
	start, end int64 // offsets
	first      LSN   // of its first record
	next       LSN   // what should follow its last
	records    int
	open       bool // the last record's unit goes on
	continued  bool // the first record's unit began before
	synced     LSN  // newest record that was known to be synced when one of these was written
}

// scan finds the valid records of a segment that begins with base. The first
// run begins where records begin, and is there even when it has none.
func scan(id uint64, b []byte, base LSN) []run {
	runs := []run{walk(id, b, dataStart, base)}
	for {
		last := &runs[len(runs)-1]
		at, ok := resync(id, b, last.end, last.next)
		if !ok {
			return runs
		}
		h, _ := parseHead(b[at:])
		r := walk(id, b, at, h.lsn)
		if last.records == 0 && len(runs) > 1 {
			runs = runs[:len(runs)-1]
		}
		runs = append(runs, r)
	}
}

// walk accepts records from offset at on while they are valid and in order.
func walk(id uint64, b []byte, at int64, want LSN) run {
	r := run{start: at, end: at, first: want, next: want}
	for r.end < int64(len(b)) {
		h, ok := parseHead(b[r.end:])
		if !ok || h.lsn != r.next || !checkSum(id, b[r.end:], &h) {
			break
		}
		if r.records == 0 {
			r.continued = h.continued
		}
		r.records++
		r.synced = max(r.synced, h.lsn-1-min(LSN(h.unsynced), h.lsn-1))
		r.open = h.flags&flagMore != 0
		r.next = after(&h, b[r.end:])
		r.end += int64(h.length)
	}
	return r
}

// resync looks behind a place that is not valid for the next record of this
// journal that is, at or after want. Stale records of an earlier life of the
// file are older.
func resync(id uint64, b []byte, from int64, want LSN) (int64, bool) {
	most := want + LSN(len(b)/headSize) + maxSkip // no segment holds more
	for at := from + 1; at+headSize <= int64(len(b)); at++ {
		if binary.LittleEndian.Uint64(b[at:]) == 0 {
			at += 4 // no record begins in the first five of eight zero bytes: its length would be 0
			continue
		}
		h, ok := parseHead(b[at:])
		if ok && h.lsn >= want && h.lsn < most && checkSum(id, b[at:], &h) {
			return at, true
		}
	}
	return 0, false
}

// acknowledged returns the runs up to the first gap that is no loss: nothing
// behind it was written after what is missing had been synced. What follows
// such a gap is the rest of a group that was never acknowledged. known is the
// newest record that is known to have been synced.
func acknowledged(runs []run, known LSN) []run {
	for i := len(runs) - 1; i > 0; i-- {
		known = max(known, runs[i].synced)
		if known >= runs[i-1].next {
			return runs[:i+1]
		}
	}
	return runs[:1]
}

// dropOpenUnit takes the records of an incomplete unit off the end of a run.
func (r *run) dropOpenUnit(b []byte) {
	if !r.open {
		return
	}
	end, next, n := r.start, r.first, 0
	for at, i := r.start, 0; at < r.end; i++ {
		h, _ := parseHead(b[at:]) // valid: walked before
		at += int64(h.length)
		if h.flags&flagMore == 0 {
			end, next, n = at, after(&h, b[at-int64(h.length):]), i+1
		}
	}
	r.end, r.next, r.records, r.open = end, next, n, false
}

// dropContinued takes the records of a unit whose beginning is lost off the
// front of a run.
func (r *run) dropContinued(b []byte) {
	for r.records > 0 {
		h, _ := parseHead(b[r.start:]) // valid: walked before
		if !h.continued {
			break
		}
		r.first = after(&h, b[r.start:])
		r.start += int64(h.length)
		r.records--
	}
	r.continued = false
}

// indexRun makes a run the content of the segment.
func (s *segment) indexRun(b []byte, r *run) {
	for at := r.start; at < r.end; {
		h, _ := parseHead(b[at:]) // valid: walked before
		if h.keyLen > 0 {
			key := b[at+headSize : at+headSize+int64(h.keyLen)]
			s.add(key, Entry{LSN: h.lsn, Seq: h.seq, At: h.at, Size: uint32(h.length - headSize - h.keyLen), offset: uint32(at)}) // #nosec G115 -- bounded by the segment's size
		}
		s.note(h.lsn, at)
		at += int64(h.length)
	}
	s.last, s.end = r.next-1, r.end
}
