package journal

import "slices"

// Entry is where one record of a key is.
type Entry struct {
	LSN  LSN
	Seq  uint64
	At   int64
	Size uint32 // of the body

	offset  uint32
	keyLen  uint16
	segment LSN
}

// Span sums up what one segment holds of one key.
type Span struct {
	Segment           LSN
	Count             int
	Bytes             int64 // of the bodies
	FirstSeq, LastSeq uint64
	FirstAt, LastAt   int64 // smallest and largest
}

func (s *Span) add(seq uint64, at int64, size uint32) {
	if s.Count == 0 {
		s.FirstSeq, s.FirstAt, s.LastAt = seq, at, at
	}
	s.Count++
	s.Bytes += int64(size)
	s.LastSeq = seq
	s.FirstAt = min(s.FirstAt, at)
	s.LastAt = max(s.LastAt, at)
}

// keyIndex is what the index of a segment knows of a key: the span, and either
// the entries themselves or where the footer holds them.
type keyIndex struct {
	span    Span
	entries []Entry
	block   int64 // offset in the file; 0: the entries are in memory
	length  int   // of the block
}

// add indexes one record of the segment.
func (s *segment) add(key []byte, e Entry) {
	k := s.keys[string(key)]
	if k == nil {
		k = &keyIndex{span: Span{Segment: s.base}}
		s.keys[string(key)] = k
	}
	e.keyLen, e.segment = uint16(len(key)), s.base // #nosec G115 -- bounded by MaxKey
	k.span.add(e.Seq, e.At, e.Size)
	k.entries = append(k.entries, e)
}

// Spans returns what each segment holds of a key, oldest first.
func (j *Journal) Spans(key []byte) []Span {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []Span
	for _, s := range j.segments {
		if k := s.keys[string(key)]; k != nil {
			out = append(out, k.span)
		}
	}
	return out
}

// Has reports whether there are records of a key.
func (j *Journal) Has(key []byte) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range slices.Backward(j.segments) {
		if s.keys[string(key)] != nil {
			return true
		}
	}
	return false
}

// EachKey calls fn once with every indexed key and the sequence of its newest record, in
// no order.
func (j *Journal) EachKey(fn func(key string, lastSeq uint64)) {
	j.mu.Lock()
	all := map[string]uint64{}
	for _, s := range j.segments {
		for key, k := range s.keys {
			all[key] = k.span.LastSeq
		}
	}
	j.mu.Unlock()
	for key, last := range all {
		fn(key, last)
	}
}

// Keys calls yield with every indexed key and its spans, in no order, until it
// returns false. The slices are valid during the call.
func (j *Journal) Keys(yield func(key []byte, spans []Span) bool) {
	j.mu.Lock()
	all := map[string][]Span{}
	for _, s := range j.segments {
		for key, k := range s.keys {
			all[key] = append(all[key], k.span)
		}
	}
	j.mu.Unlock()
	for key, spans := range all {
		if !yield([]byte(key), spans) {
			return
		}
	}
}

// Entries returns the entries of a key in one segment, in order, unsynced ones
// included. Callers must not change them. ErrGone when the segment was dropped.
func (j *Journal) Entries(key []byte, segment LSN) ([]Entry, error) {
	s, err := j.pin(segment)
	if err != nil {
		return nil, err
	}
	defer j.unpin(s)
	j.mu.Lock()
	k := s.keys[string(key)]
	if k == nil {
		j.mu.Unlock()
		return nil, nil
	}
	if k.block == 0 {
		entries := slices.Clip(k.entries)
		j.mu.Unlock()
		return entries, nil
	}
	if entries := j.decoded.get(segment, string(key)); entries != nil {
		j.mu.Unlock()
		return entries, nil
	}
	block, length, span := k.block, k.length, k.span
	j.mu.Unlock()
	entries, err := s.readBlock(block, length, len(key), &span)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	j.decoded.put(segment, string(key), entries)
	j.mu.Unlock()
	return entries, nil
}

// entryCache keeps the entries that were decoded last.
type entryCache struct {
	items []cached // newest last
	total int
}

type cached struct {
	segment LSN
	key     string
	entries []Entry
}

// maxDecoded bounds the cache: about 1.5 MiB.
const maxDecoded = 40_000

func (c *entryCache) get(segment LSN, key string) []Entry {
	for i, it := range slices.Backward(c.items) {
		if it.segment == segment && it.key == key {
			copy(c.items[i:], c.items[i+1:])
			c.items[len(c.items)-1] = it
			return it.entries
		}
	}
	return nil
}

func (c *entryCache) put(segment LSN, key string, entries []Entry) {
	c.items = append(c.items, cached{segment, key, entries})
	c.total += len(entries)
	for len(c.items) > 1 && (c.total > maxDecoded || len(c.items) > 64) {
		c.total -= len(c.items[0].entries)
		c.items = slices.Delete(c.items, 0, 1)
	}
}

// forget drops what was decoded of a segment.
func (c *entryCache) forget(segment LSN) {
	c.items = slices.DeleteFunc(c.items, func(it cached) bool {
		if it.segment == segment {
			c.total -= len(it.entries)
			return true
		}
		return false
	})
}
