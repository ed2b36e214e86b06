package store

import (
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"
	"maps"
)

// Each row of a file of bbolt ends in a checksum, since bbolt has none: a CRC-32C over
// its key, of which the first byte is the table, and its value, little-endian. It is
// seeded with a random number of the file, so that a sector of another one is noticed,
// and with the length of the key, so that key and value have one border. The rows of a
// file of format 1 or 2 have none.

const sealBytes = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal makes and checks the checksums of one file.
type seal struct {
	salt uint32
	none bool // rows are as they are
}

func newSeal() seal {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, as documented
	return seal{salt: binary.LittleEndian.Uint32(b[:])}
}

func (s seal) sum(key, value []byte) uint32 {
	seed := s.salt + uint32(len(key)) // #nosec G115 -- wraps
	return crc32.Update(crc32.Update(seed, castagnoli, key), castagnoli, value)
}

// add returns a row as it is kept, and its checksum.
func (s seal) add(key, value []byte) (kept []byte, sum uint32) {
	if s.none {
		return value, 0
	}
	sum = s.sum(key, value)
	kept = append(make([]byte, 0, len(value)+sealBytes), value...)
	return binary.LittleEndian.AppendUint32(kept, sum), sum
}

// open returns the value of a row that is kept; ok is false when its checksum is wrong.
func (s seal) open(key, kept []byte) (value []byte, ok bool) {
	if s.none {
		return kept, true
	}
	value, sum, ok := split(kept)
	return value, ok && s.sum(key, value) == sum
}

// split takes a row apart that is kept; ok is false when it is too short.
func split(kept []byte) (value []byte, sum uint32, ok bool) {
	n := len(kept) - sealBytes
	if n < 0 {
		return nil, 0, false
	}
	return kept[:n:n], binary.LittleEndian.Uint32(kept[n:]), true
}

// tableSum sums up the rows of a table in any order: a row that is missing, is there
// twice, or is an older one makes another sum.
type tableSum struct {
	_    struct{} `cbor:",toarray"`
	Rows uint64
	Sum  uint64 // of the checksums, spread over 64 bits
}

// tableSums are the sums of the tables that have rows.
type tableSums map[table]tableSum

// add takes a row in, or out when sign is -1.
func (s tableSums) add(t table, sum uint32, sign int) {
	e := s[t]
	if sign < 0 {
		e.Rows, e.Sum = e.Rows-1, e.Sum-spread(sum)
	} else {
		e.Rows, e.Sum = e.Rows+1, e.Sum+spread(sum)
	}
	if e == (tableSum{}) {
		delete(s, t)
		return
	}
	s[t] = e
}

func (s tableSums) clone() tableSums {
	if s == nil {
		return tableSums{}
	}
	return maps.Clone(s)
}

// spread makes 64 bits of 32 by the finalizer of SplitMix64, so that sums of checksums
// do not meet.
func spread(sum uint32) uint64 {
	x := uint64(sum) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
