package journal

import (
	"encoding/binary"
	"errors"
	"io"
	"sort"
	"sync"
)

// mark is where a record of a segment begins. Marks make a record findable by its LSN
// without walking over all before it.
type mark struct {
	lsn    LSN
	offset uint32
}

// markEvery is how many bytes lie between marks, at least: 8 KiB of memory for a
// segment of the default size.
const markEvery = 16 << 10

// note marks a record when the mark before is far enough away. The caller holds
// Journal.mu.
func (s *segment) note(lsn LSN, offset int64) {
	if n := len(s.marks); n == 0 || offset >= int64(s.marks[n-1].offset)+markEvery {
		s.marks = append(s.marks, mark{lsn: lsn, offset: uint32(offset)}) // #nosec G115 -- bounded by the segment's size
	}
}

// before returns an offset at which a record begins that is not behind lsn, and where
// the newest mark is. The caller holds Journal.mu.
func (s *segment) before(lsn LSN) (offset, marked int64) {
	i := sort.Search(len(s.marks), func(i int) bool { return s.marks[i].lsn > lsn })
	offset = dataStart
	if i > 0 {
		offset = int64(s.marks[i-1].offset)
	}
	if n := len(s.marks); n > 0 {
		marked = int64(s.marks[n-1].offset)
	}
	return offset, marked
}

// seek moves to the first record at or after want in the first segment. It leaves
// marks on its way.
func (r *Reader) seek() error {
	r.j.mu.Lock()
	offset, marked := r.seg.before(r.want)
	r.j.mu.Unlock()
	r.offset = offset
	for {
		limit, _ := r.limit()
		if r.offset >= limit {
			return nil
		}
		b, h, err := r.peek(limit)
		if err != nil {
			return err
		}
		if r.offset >= marked+markEvery {
			r.j.mu.Lock()
			r.seg.note(h.lsn, r.offset)
			r.j.mu.Unlock()
			marked = r.offset
		}
		if next := after(&h, b); next > r.want {
			r.want = h.lsn
			return nil
		}
		r.offset += int64(h.length)
	}
}

// NewTailReader returns a Reader as NewReader does, which does not wait for records to
// be durable: it returns all that Append has written. Damage to records before the one
// to begin with does not matter.
func (j *Journal) NewTailReader(from LSN) (*Reader, error) {
	r, err := j.reader(from, readAhead)
	if err != nil {
		return nil, err
	}
	r.tail = true
	err = r.seek()
	if _, damaged := errors.AsType[*DamageError](err); damaged {
		_, err = r.Resync()
	}
	if err != nil {
		_ = r.Close() // cannot fail
		return nil, err
	}
	return r, nil
}

// ReadAt returns one record by its LSN, durable or not. Its slices belong to the
// caller. ErrGone when the record was dropped, given up or lost, or is not written
// yet; a DamageError when it cannot be read back.
func (j *Journal) ReadAt(lsn LSN) (Record, error) {
	r, err := j.reader(lsn, markEvery)
	if err != nil {
		return Record{}, err
	}
	defer func() { _ = r.Close() }() // only read
	r.tail = true
	if rec, ok := r.jump(); ok {
		return rec, nil
	}
	err = r.seek()
	if _, damaged := errors.AsType[*DamageError](err); damaged { // perhaps of a record before
		var lost uint64
		if lost, err = r.Resync(); err == nil && lost > 0 {
			err = &DamageError{File: r.seg.name, LSN: lsn}
		}
	}
	if err != nil {
		return Record{}, err
	}
	rec, err := r.Next()
	if errors.Is(err, io.EOF) || err == nil && (isGap(rec.Kind) || rec.LSN != lsn) {
		return Record{}, ErrGone
	}
	return rec, err
}

// stretches are buffers that jump walks in.
var stretches = sync.Pool{New: func() any { return new([markEvery + headSize]byte) }}

// jump returns the record at want if it is found by the lengths of those between it
// and the mark before. It believes these lengths only as far as the record that they
// lead to is whole.
func (r *Reader) jump() (rec Record, ok bool) {
	r.j.mu.Lock()
	offset, _ := r.seg.before(r.want)
	r.j.mu.Unlock()
	end, _ := r.limit()
	stretch, _ := stretches.Get().(*[markEvery + headSize]byte)
	defer stretches.Put(stretch)
	b := stretch[:max(0, min(int64(len(stretch)), end-offset))]
	if _, err := r.seg.file.ReadAt(b, offset); err != nil {
		return Record{}, false
	}
	for len(b) >= headSize {
		n, lsn := recordLength(b), LSN(binary.LittleEndian.Uint64(b[8:]))
		if lsn == r.want && n >= headSize && n <= MaxGroup && int64(n) <= end-offset {
			return r.whole(b[:min(n, len(b))], offset, n)
		}
		if n < headSize || lsn > r.want || n > len(b) {
			break
		}
		b, offset = b[n:], offset+int64(n)
	}
	return Record{}, false
}

// whole returns the record of n bytes at an offset, of which b is the beginning, if it
// is the one at want.
func (r *Reader) whole(b []byte, offset int64, n int) (rec Record, ok bool) {
	own := make([]byte, n)
	if have := copy(own, b); have < n {
		if _, err := r.seg.file.ReadAt(own[have:], offset+int64(have)); err != nil {
			return Record{}, false
		}
	}
	h, ok := parseHead(own)
	if !ok || h.length != n || h.lsn != r.want || isGap(h.kind) || !checkSum(r.j.id, own, &h) {
		return Record{}, false
	}
	return h.record(own), true
}
