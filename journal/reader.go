package journal

import (
	"fmt"
	"io"
)

// Reader reads durable records in order, one of NewTailReader all that are written. It is for one goroutine.
type Reader struct {
	j      *Journal
	seg    *segment // pinned; nil: none yet
	want   LSN
	offset int64
	buf    []byte // bytes of the segment from bufAt on, all of them written
	bufAt  int64
	ahead  int  // how much is read at once, in bytes
	tail   bool // records that are not durable are returned, too
}

// readAhead is how much a Reader reads at once that goes on.
const readAhead = 128 << 10

// NewReader returns a Reader that begins with the record at from, or ErrGone
// when it was dropped.
func (j *Journal) NewReader(from LSN) (*Reader, error) {
	r, err := j.reader(from, readAhead)
	if err != nil {
		return nil, err
	}
	if err := r.seek(); err != nil {
		_ = r.Close() // cannot fail
		return nil, err
	}
	return r, nil
}

// reader returns a Reader that is at the beginning of the segment of a record.
func (j *Journal) reader(from LSN, ahead int) (*Reader, error) {
	if err := j.err(); err != nil {
		return nil, err
	}
	j.mu.Lock()
	s := j.find(from)
	if s != nil {
		s.refs++
	}
	j.mu.Unlock()
	if s == nil {
		return nil, ErrGone
	}
	return &Reader{j: j, seg: s, want: from, offset: dataStart, ahead: ahead}, nil
}

// Next returns the next record; its slices are valid until the next call.
// io.EOF means that there is no durable one yet: Wait, and call again. A
// DamageError means that what was written cannot be read back.
func (r *Reader) Next() (Record, error) {
	for {
		if r.want > r.end() {
			return Record{}, io.EOF
		}
		limit, complete := r.limit()
		if r.offset < limit {
			b, h, err := r.peek(limit)
			if err != nil {
				return Record{LSN: r.want}, err
			}
			next := after(&h, b)
			if h.lsn > r.want {
				return Record{LSN: r.want}, &DamageError{File: r.seg.name, LSN: r.want}
			}
			r.offset += int64(h.length)
			if next <= r.want {
				continue // it was not durable yet when the reader was made for what comes later
			}
			r.want = next
			return h.record(b), nil
		}
		if !complete {
			return Record{}, io.EOF
		}
		if err := r.advance(); err != nil {
			return Record{}, err
		}
	}
}

// limit returns where the records end that may be returned in the present segment, and whether
// no more will come there.
func (r *Reader) limit() (end int64, complete bool) {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	if n := len(r.j.segments); n > 0 && r.j.segments[n-1] == r.seg {
		if r.tail {
			return r.seg.end, false
		}
		return r.j.syncOff, false
	}
	return r.seg.end, true
}

// end returns the newest record that the Reader may return.
func (r *Reader) end() LSN {
	if r.tail {
		return r.j.Written()
	}
	return r.j.Synced()
}

// advance goes on in the segment that holds want.
func (r *Reader) advance() error {
	r.j.mu.Lock()
	next := r.j.find(r.want)
	if next == nil || next == r.seg || next.base < r.seg.base {
		r.j.mu.Unlock()
		return ErrGone
	}
	next.refs++
	r.j.mu.Unlock()
	r.j.unpin(r.seg)
	r.seg, r.offset, r.buf = next, dataStart, r.buf[:0]
	return nil
}

// peek returns the record at the present offset.
func (r *Reader) peek(limit int64) ([]byte, head, error) {
	damage := &DamageError{File: r.seg.name, LSN: r.want}
	b, err := r.bytes(headSize, limit)
	if err != nil {
		return nil, head{}, err
	}
	if len(b) < headSize {
		return nil, head{}, damage
	}
	need := recordLength(b)
	if need > MaxGroup || int64(need) > limit-r.offset {
		return nil, head{}, damage
	}
	if b, err = r.bytes(need, limit); err != nil {
		return nil, head{}, err
	}
	h, ok := parseHead(b)
	if !ok || !checkSum(r.j.id, b, &h) {
		return nil, head{}, damage
	}
	return b, h, nil
}

// bytes returns at least n bytes from the present offset on, or what there is
// before limit.
func (r *Reader) bytes(n int, limit int64) ([]byte, error) {
	have := r.bufAt + int64(len(r.buf)) - r.offset
	if r.offset < r.bufAt || have < int64(n) {
		size := min(int64(max(n, r.ahead)), limit-r.offset)
		if int64(cap(r.buf)) < size {
			r.buf = make([]byte, size)
		}
		r.buf, r.bufAt = r.buf[:size], r.offset
		if _, err := r.seg.file.ReadAt(r.buf, r.offset); err != nil {
			r.buf = r.buf[:0]
			return nil, fmt.Errorf("read %s: %w", r.seg.name, err)
		}
	}
	return r.buf[r.offset-r.bufAt:], nil
}

// Resync goes on behind what cannot be read, after a DamageError or an error of
// the disk: with the next record that is whole, in this segment or a later one.
// It returns how many records were passed over.
func (r *Reader) Resync() (lost uint64, err error) {
	limit, complete := r.limit()
	from := r.want
	b := make([]byte, max(0, limit-r.offset))
	if _, err := r.seg.file.ReadAt(b, r.offset); err == nil {
		if at, ok := resync(r.j.id, b, 0, r.want); ok {
			h, _ := parseHead(b[at:]) // valid: resync looked
			r.offset, r.want, r.buf = r.offset+at, h.lsn, r.buf[:0]
			return uint64(r.want - from), nil
		}
	}
	if !complete { // new records will come behind it
		r.offset, r.want, r.buf = limit, r.end()+1, r.buf[:0]
		return uint64(r.want - from), nil
	}
	r.want = max(r.want, r.seg.last+1)
	return uint64(r.want - from), r.advance()
}

// Close lets go of the files.
func (r *Reader) Close() error {
	if r.seg != nil {
		r.j.unpin(r.seg)
		r.seg = nil
	}
	return nil
}

// Read reads one record into buf, which is grown when needed. The record's
// slices are part of it. ErrGone when its segment was dropped.
func (j *Journal) Read(e Entry, buf []byte) (Record, error) {
	s, err := j.pin(e.segment)
	if err != nil {
		return Record{}, err
	}
	defer j.unpin(s)
	n := headSize + int(e.keyLen) + int(e.Size)
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	_, err = s.file.ReadAt(buf, int64(e.offset))
	h, ok := parseHead(buf)
	switch {
	case err == nil && ok && h.length == n && h.lsn == e.LSN && checkSum(j.id, buf, &h):
		return h.record(buf), nil
	case s.thinned:
		return j.reread(s, e)
	case err != nil:
		return Record{}, fmt.Errorf("%w: %w", &DamageError{File: s.name, LSN: e.LSN}, err)
	}
	return Record{}, &DamageError{File: s.name, LSN: e.LSN}
}
