package journal

import (
	"encoding/binary"
	"hash/crc32"
)

// headSize is what a record takes beside key and body.
const headSize = 40

const (
	flagMore      = 1 // the next record belongs to the same unit
	flagContinued = 2 // so does the one before
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum begins with the journal's id, so that an author of a body cannot
// put a valid record into it, and records of another journal are never taken
// for ours.
func sum(id uint64, b []byte) uint32 {
	var seed [8]byte
	binary.LittleEndian.PutUint64(seed[:], id)
	return crc32.Update(crc32.Checksum(seed[:], castagnoli), castagnoli, b)
}

// head is the fixed part of a record with what the caller does not see.
type head struct {
	length    int // of the whole record
	lsn       LSN
	seq       uint64
	at        int64
	kind      uint8
	flags     uint8
	keyLen    int
	unsynced  uint32
	continued bool
}

// appendRecord encodes r.
func appendRecord(b []byte, id uint64, r *Record, continued bool, unsynced uint32) []byte {
	start := len(b)
	var flags byte
	if r.More {
		flags |= flagMore
	}
	if continued {
		flags |= flagContinued
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(headSize-8+len(r.Key)+len(r.Body))) // #nosec G115 -- bounded by MaxGroup
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.LSN))
	b = binary.LittleEndian.AppendUint64(b, r.Seq)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.At)) // #nosec G115 -- two's complement there and back
	b = append(b, r.Kind, flags)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.Key))) // #nosec G115 -- bounded by MaxKey
	b = binary.LittleEndian.AppendUint32(b, unsynced)
	b = append(b, r.Key...)
	b = append(b, r.Body...)
	binary.LittleEndian.PutUint32(b[start+4:], sum(id, b[start+8:]))
	return b
}

// parseHead reads the head at the beginning of b. It is false when b cannot
// begin with a record; the checksum is not looked at.
func parseHead(b []byte) (head, bool) {
	if len(b) < headSize {
		return head{}, false
	}
	n := binary.LittleEndian.Uint32(b)
	if n < headSize-8 || n > MaxGroup || int(n) > len(b)-8 {
		return head{}, false
	}
	h := head{
		length:   int(n) + 8,
		lsn:      LSN(binary.LittleEndian.Uint64(b[8:])),
		seq:      binary.LittleEndian.Uint64(b[16:]),
		at:       int64(binary.LittleEndian.Uint64(b[24:])), // #nosec G115 -- two's complement there and back
		kind:     b[32],
		flags:    b[33],
		keyLen:   int(binary.LittleEndian.Uint16(b[34:])),
		unsynced: binary.LittleEndian.Uint32(b[36:]),
	}
	h.continued = h.flags&flagContinued != 0
	return h, h.keyLen <= MaxKey && headSize+h.keyLen <= h.length
}

// checkSum reports whether the record of head h at the beginning of b is whole.
func checkSum(id uint64, b []byte, h *head) bool {
	return binary.LittleEndian.Uint32(b[4:]) == sum(id, b[8:h.length])
}

// record returns the record of head h at the beginning of b, sharing its
// memory.
func (h *head) record(b []byte) Record {
	return Record{
		LSN: h.lsn, Kind: h.kind, More: h.flags&flagMore != 0, Seq: h.seq, At: h.at,
		Key: b[headSize : headSize+h.keyLen : headSize+h.keyLen], Body: b[headSize+h.keyLen : h.length : h.length],
	}
}

func encodedSize(r *Record) int64 { return int64(headSize + len(r.Key) + len(r.Body)) }

// lostRange is the body of a record of KindLost.
func lostRange(first, last LSN) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(first))
	return binary.BigEndian.AppendUint64(b, uint64(last))
}

// after returns the LSN that follows a record.
func after(h *head, b []byte) LSN {
	if isGap(h.kind) && h.length == headSize+h.keyLen+16 {
		return LSN(binary.BigEndian.Uint64(b[headSize+h.keyLen+8:])) + 1
	}
	return h.lsn + 1
}

// recordLength returns the length that the record at the beginning of b claims.
func recordLength(b []byte) int {
	n := binary.LittleEndian.Uint32(b)
	if n > MaxGroup {
		return MaxGroup + 1
	}
	return int(n) + 8
}
