package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/bits"
	"slices"
)

const (
	footerMagic = "PICLOUDF"
	trailerSize = 48

	// footerFormat is the version of footers, in the last four bytes of the trailer.
	// The checksum of a later version covers these too, behind the rest, so that a
	// flipped bit is not taken for one.
	footerFormat = 0
)

// footerCost is an upper bound of what a record adds to the footer.
func footerCost(lsns LSN, r *Record, newKey bool) int64 {
	n := int64(uvarintLen(uint64(lsns)) + 5 + uvarintLen(r.Seq) + binary.MaxVarintLen64 + 4)
	if newKey {
		n += int64(len(r.Key)) + 8*binary.MaxVarintLen64
	}
	return n
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func appendEntry(b []byte, e, prev *Entry) []byte {
	b = binary.AppendUvarint(b, uint64(e.LSN-prev.LSN))
	b = binary.AppendUvarint(b, uint64(e.offset-prev.offset))
	b = binary.AppendUvarint(b, e.Seq-prev.Seq)
	b = binary.AppendVarint(b, e.At-prev.At)
	return binary.AppendUvarint(b, uint64(e.Size))
}

// footer encodes the index of a segment to end at the segment's size. It also
// returns where the entries of each key will lie.
func (s *segment) footer(keys map[string]*keyIndex, last LSN, end int64) (b []byte, at int64, blocks map[string][2]int64) {
	names := slices.Sorted(maps.Keys(keys))
	blocks = make(map[string][2]int64, len(names))
	for _, name := range names {
		start := len(b)
		prev := Entry{LSN: s.base}
		for i := range keys[name].entries {
			e := &keys[name].entries[i]
			b = appendEntry(b, e, &prev)
			prev = *e
		}
		blocks[name] = [2]int64{int64(start), int64(len(b) - start)}
	}
	directory := len(b)
	b = binary.AppendUvarint(b, uint64(len(names)))
	for _, name := range names {
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
		sp := &keys[name].span
		b = binary.AppendUvarint(b, uint64(sp.Count)) // #nosec G115 -- a count
		b = binary.AppendUvarint(b, uint64(sp.Bytes)) // #nosec G115 -- a size
		b = binary.AppendUvarint(b, sp.FirstSeq)
		b = binary.AppendUvarint(b, sp.LastSeq)
		b = binary.AppendVarint(b, sp.FirstAt)
		b = binary.AppendVarint(b, sp.LastAt)
		b = binary.AppendUvarint(b, uint64(blocks[name][1])) // #nosec G115 -- a length
	}
	length := len(b) + trailerSize
	t := make([]byte, 0, trailerSize)
	t = append(t, footerMagic...)
	t = binary.LittleEndian.AppendUint64(t, uint64(s.base))
	t = binary.LittleEndian.AppendUint64(t, uint64(last))
	t = binary.LittleEndian.AppendUint64(t, uint64(end))                          // #nosec G115 -- an offset
	t = binary.LittleEndian.AppendUint32(t, uint32(length))                       // #nosec G115 -- below the segment's size
	t = binary.LittleEndian.AppendUint32(t, uint32(length-trailerSize-directory)) // #nosec G115 -- as above
	b = append(b, t...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	b = binary.LittleEndian.AppendUint32(b, 0)
	at = s.size - int64(len(b))
	for name, bl := range blocks {
		blocks[name] = [2]int64{at + bl[0], bl[1]}
	}
	return b, at, blocks
}

var errFooter = errors.New("no valid footer")

// readFooter takes the index of a complete segment from its footer.
func (s *segment) readFooter() error {
	trailer := make([]byte, trailerSize)
	if s.size < dataStart+trailerSize {
		return errFooter
	}
	if _, err := s.file.ReadAt(trailer, s.size-trailerSize); err != nil {
		return fmt.Errorf("read footer: %w", err)
	}
	length := int64(binary.LittleEndian.Uint32(trailer[32:]))
	dirLen := int64(binary.LittleEndian.Uint32(trailer[36:]))
	if string(trailer[:8]) != footerMagic || LSN(binary.LittleEndian.Uint64(trailer[8:])) != s.base ||
		binary.LittleEndian.Uint32(trailer[44:]) != footerFormat || length < trailerSize || length > s.size-dataStart || dirLen > length-trailerSize {
		return errFooter
	}
	b := make([]byte, length)
	at := s.size - length
	if _, err := s.file.ReadAt(b, at); err != nil {
		return fmt.Errorf("read footer: %w", err)
	}
	if binary.LittleEndian.Uint32(b[length-8:]) != crc32.Checksum(b[:length-8], castagnoli) {
		return errFooter
	}
	end := int64(binary.LittleEndian.Uint64(trailer[24:])) // #nosec G115 -- checked below
	if end < dataStart || end > at {
		return errFooter
	}
	keys, ok := parseDirectory(b[length-trailerSize-dirLen:length-trailerSize], s.base, at, length-trailerSize-dirLen)
	if !ok {
		return errFooter
	}
	s.keys, s.last, s.end = keys, LSN(binary.LittleEndian.Uint64(trailer[16:])), end
	return nil
}

// footerVersion returns the version of a footer that is whole, or of one that a newer
// version wrote; 0 where there is none.
func (s *segment) footerVersion() uint32 {
	trailer := make([]byte, trailerSize)
	if _, err := s.file.ReadAt(trailer, max(0, s.size-trailerSize)); err != nil {
		return 0
	}
	version, length := binary.LittleEndian.Uint32(trailer[44:]), int64(binary.LittleEndian.Uint32(trailer[32:]))
	if version == 0 || string(trailer[:8]) != footerMagic || length < trailerSize || length > s.size-dataStart {
		return 0
	}
	b := make([]byte, length)
	if _, err := s.file.ReadAt(b, s.size-length); err != nil {
		return 0
	}
	if sum := crc32.Checksum(b[:length-8], castagnoli); crc32.Update(sum, castagnoli, b[length-4:]) != binary.LittleEndian.Uint32(b[length-8:]) {
		return 0
	}
	return version
}

func parseDirectory(b []byte, base LSN, block, blocks int64) (map[string]*keyIndex, bool) {
	r := bytes.NewReader(b)
	bad := false
	u := func() uint64 {
		v, err := binary.ReadUvarint(r)
		bad = bad || err != nil
		return v
	}
	i := func() int64 {
		v, err := binary.ReadVarint(r)
		bad = bad || err != nil
		return v
	}
	n := u()
	end := block + blocks
	keys := make(map[string]*keyIndex, min(n, uint64(len(b))))
	for range n {
		size := u()
		if bad || size > MaxKey || size > uint64(r.Len()) { // #nosec G115 -- a length
			return nil, false
		}
		name := make([]byte, size)
		_, _ = io.ReadFull(r, name) // there is enough: just checked
		k := &keyIndex{block: block, span: Span{Segment: base}}
		k.span.Count, k.span.Bytes = int(u()), int64(u()) // #nosec G115 -- under a checksum
		k.span.FirstSeq, k.span.LastSeq = u(), u()
		k.span.FirstAt, k.span.LastAt = i(), i()
		length := u()
		if bad || length > uint64(end-block) || k.span.Count < 0 || uint64(k.span.Count) > length { // #nosec G115 -- never negative
			return nil, false
		}
		k.length = int(length) // #nosec G115 -- below the segment's size
		block += int64(k.length)
		keys[string(name)] = k
	}
	return keys, !bad && r.Len() == 0
}

// readBlock decodes the entries of a key from the footer.
func (s *segment) readBlock(at int64, length, keyLen int, span *Span) ([]Entry, error) {
	b := make([]byte, length)
	if _, err := s.file.ReadAt(b, at); err != nil {
		return nil, fmt.Errorf("read index of %s: %w", s.name, err)
	}
	entries := make([]Entry, 0, span.Count)
	prev := Entry{LSN: s.base, segment: s.base, keyLen: uint16(keyLen)} // #nosec G115 -- bounded by MaxKey
	r := bytes.NewReader(b)
	for r.Len() > 0 {
		var v [4]uint64
		var err error
		for i := range 3 {
			if v[i], err = binary.ReadUvarint(r); err != nil {
				return nil, &DamageError{File: s.name, LSN: prev.LSN}
			}
		}
		at, err1 := binary.ReadVarint(r)
		size, err2 := binary.ReadUvarint(r)
		if err1 != nil || err2 != nil {
			return nil, &DamageError{File: s.name, LSN: prev.LSN}
		}
		prev.LSN += LSN(v[0])
		prev.offset += uint32(v[1]) // #nosec G115 -- offsets are below 4 GiB
		prev.Seq += v[2]
		prev.At += at
		prev.Size = uint32(size) // #nosec G115 -- bounded by MaxGroup
		entries = append(entries, prev)
	}
	return entries, nil
}
