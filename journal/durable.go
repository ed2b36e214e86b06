package journal

import (
	"encoding/binary"
	"fmt"
	"time"
)

// While a segment is written, its last bytes, where the trailer of its footer will be,
// say how far records were durable. That rides on the fsync of a group, a page more
// every while, and tells damage to the tail from a tail that was never written.
const (
	durableMagic = "PICLOUDM"
	// durableEvery and durableBytes are how far the mark may be behind: what is lost of
	// the tail beyond it cannot be told from what was never written.
	durableEvery = 10 * time.Second
	durableBytes = 256 << 10
)

// durable is how far the mark of the active segment has come. It belongs to the writer.
type durable struct {
	at    time.Time
	lsn   LSN
	bytes int64 // written since
}

// markDurable writes, before a sync, how far everything is durable, if that is due.
//
//	"PICLOUDM" · base LSN u64 · newest durable LSN u64 · 16 zero bytes · checksum as
//	of records u32 · 0 u32
func (j *Journal) markDurable() error {
	lsn := j.Synced()
	if lsn < j.active.base || lsn <= j.durable.lsn {
		return nil // the name of the segment says as much
	}
	now := time.Now()
	if j.durable.bytes < durableBytes && now.Sub(j.durable.at) < durableEvery {
		return nil
	}
	b := make([]byte, trailerSize)
	copy(b, durableMagic)
	binary.LittleEndian.PutUint64(b[8:], uint64(j.active.base))
	binary.LittleEndian.PutUint64(b[16:], uint64(lsn))
	binary.LittleEndian.PutUint32(b[40:], sum(j.id, b[:40]))
	if _, err := j.active.file.WriteAt(b, j.active.size-trailerSize); err != nil {
		return fmt.Errorf("write to %s: %w", j.active.name, err)
	}
	j.durable = durable{at: now, lsn: lsn}
	return nil
}

// readDurable returns the newest record that a segment says was durable; base-1: it
// does not say.
func (s *segment) readDurable(id uint64) LSN {
	b := make([]byte, trailerSize)
	if s.size < dataStart+trailerSize {
		return s.base - 1
	}
	if _, err := s.file.ReadAt(b, s.size-trailerSize); err != nil || string(b[:8]) != durableMagic ||
		LSN(binary.LittleEndian.Uint64(b[8:])) != s.base || binary.LittleEndian.Uint32(b[40:]) != sum(id, b[:40]) {
		return s.base - 1
	}
	return LSN(binary.LittleEndian.Uint64(b[16:]))
}
