package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
)

// The file end says how far LSNs have been given. The tail of the journal cannot say
// that: what is lost there leaves no trace. LSNs are reserved many at a time, durably
// and before the first of them is given, so that the next start knows a bound whatever
// became of the records.
//
// It is overwritten in place, never longer and on blocks that it has already, so that
// a full disk does not keep it from being written. It has two slots, each on a page of
// its own and made durable before the other is written: whichever of them is damaged
// or torn, the other says enough.
const (
	endFile    = "end"
	endMagic   = "PICLOUDE"
	endFormat  = 1
	endSlot    = 4096 // bytes from one slot to the next
	endSlots   = 2
	endEncoded = 64
)

// ReserveAhead is how many LSNs are reserved at once.
const ReserveAhead LSN = 1 << 20

// end is what a slot of the file end says:
//
//	"PICLOUDE" · version u32 · state u32 (1: closed) · journal id u64 · count u64
//	· last LSN u64 · reserved LSN u64 · 12 zero bytes · crc32c of the 60 bytes before
type end struct {
	version  uint32
	closed   bool // the journal ends with last, and nothing has been appended since
	id       uint64
	count    uint64 // of the marks written; the higher one is newer
	last     LSN    // the newest that was durable
	reserved LSN    // none above it was ever given
}

func (e *end) encode() []byte {
	b := make([]byte, endEncoded)
	copy(b, endMagic)
	binary.LittleEndian.PutUint32(b[8:], endFormat)
	if e.closed {
		b[12] = 1
	}
	binary.LittleEndian.PutUint64(b[16:], e.id)
	binary.LittleEndian.PutUint64(b[24:], e.count)
	binary.LittleEndian.PutUint64(b[32:], uint64(e.last))
	binary.LittleEndian.PutUint64(b[40:], uint64(e.reserved))
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

func parseEnd(b []byte) (end, bool) {
	if len(b) < endEncoded || string(b[:8]) != endMagic || binary.LittleEndian.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli) {
		return end{}, false
	}
	e := end{
		version: binary.LittleEndian.Uint32(b[8:]), closed: b[12] == 1,
		id: binary.LittleEndian.Uint64(b[16:]), count: binary.LittleEndian.Uint64(b[24:]),
		last: LSN(binary.LittleEndian.Uint64(b[32:])), reserved: LSN(binary.LittleEndian.Uint64(b[40:])),
	}
	return e, e.version > endFormat || e.last <= e.reserved && e.reserved < maxLSN
}

// readEnd returns the newest slot of the file end that is whole; a nil error and false:
// there is none. An *oddError: it is no file.
func (j *Journal) readEnd() (e end, ok bool, err error) {
	f, err := j.fs.Open(j.path(endFile))
	if errors.Is(err, fs.ErrNotExist) {
		return end{}, false, nil
	}
	if err != nil {
		return end{}, false, fmt.Errorf("open the file %s: %w", endFile, err)
	}
	defer func() { _ = f.Close() }() // only read
	if m, ok := f.(interface{ forget() }); ok {
		m.forget()
	}
	for slot := range endSlots {
		b := make([]byte, endEncoded)
		if _, err := f.ReadAt(b, int64(slot*endSlot)); err != nil {
			continue // the other one says enough
		}
		s, valid := parseEnd(b)
		if valid && s.version > endFormat {
			return end{}, false, &VersionError{File: endFile, Version: s.version, Known: endFormat}
		}
		if valid && (!ok || s.count > e.count) {
			e, ok = s, true
		}
	}
	return e, ok, nil
}

// writeEnd makes e what the file end says, in a slot after the other. The file is made
// when it is missing.
func (j *Journal) writeEnd(e end) error {
	e.id, e.count = j.id, j.end.count+1
	if j.endMark == nil {
		if err := j.openEnd(); err != nil {
			return fmt.Errorf("open the file %s: %w", endFile, err)
		}
	}
	page := make([]byte, endSlot)
	copy(page, e.encode())
	for slot := range endSlots {
		_, err := j.endMark.WriteAt(page, int64(slot*endSlot))
		if err == nil {
			err = j.endMark.Datasync()
		}
		if err != nil {
			return fmt.Errorf("write the file %s: %w", endFile, err)
		}
	}
	j.end = e
	return nil
}

// openEnd opens the file end for writing, or makes an empty one.
func (j *Journal) openEnd() (err error) {
	j.endMark, err = j.fs.Open(j.path(endFile))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tmp := j.path(endFile + ".tmp")
	f, err := j.fs.Create(tmp)
	if err != nil {
		return err
	}
	err = fill(f, 0, endSlots*endSlot)
	if err == nil {
		err = f.Datasync()
	}
	if err == nil {
		err = j.fs.Rename(tmp, j.path(endFile))
	}
	if err == nil {
		err = j.fs.SyncDir(j.cfg.Dir)
	}
	if err != nil {
		_ = f.Close()        // the first error is the one to tell
		_ = j.fs.Remove(tmp) // as above
		return err
	}
	j.endMark = f
	return nil
}

// reserve makes sure that LSNs up to one may be given.
func (j *Journal) reserve(upTo LSN) error {
	if upTo <= j.end.reserved && !j.end.closed {
		return nil
	}
	err := j.writeEnd(end{last: j.Synced(), reserved: max(upTo, j.end.reserved, j.Written()) + ReserveAhead})
	if noSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	if err != nil {
		return j.fail(err)
	}
	return nil
}

// closeEnd notes that the journal ends with its newest record. Without that note the
// next start passes over what is reserved.
func (j *Journal) closeEnd() {
	last := j.Written()
	if j.unproven || j.end.closed && j.end.last == last {
		return
	}
	if err := j.writeEnd(end{closed: true, last: last, reserved: last}); err != nil {
		j.log.Warn("the end of the journal could not be noted", slog.Any("err", err))
	}
}

// End says what is known of the end of the journal that Open has found.
type End uint8

// What is known of an end.
const (
	EndProven  End = iota // nothing can be missing: it was closed so, or is new
	EndOpen               // records may be missing; no LSN above Recovery.Reserved was ever given
	EndUnknown            // nothing says how far LSNs have been given: that is damage
	EndUnnoted            // the files are of a version that did not note it, or a Snapshot's copy
)

// provenEnd reports whether nothing that was appended can be missing from a journal
// whose newest record is last.
func (j *Journal) provenEnd(last LSN) bool { return j.ended == EndProven && last >= j.end.last }

// findEnd reads the file end. What has its name and is no file is moved aside.
func (j *Journal) findEnd(rec *Recovery) (e end, ok bool, err error) {
	e, ok, err = j.readEnd()
	if odd, is := errors.AsType[*oddError](err); is {
		return end{}, false, j.moveAside(endFile, odd.Error(), rec)
	}
	return e, ok, err
}

// judgeEnd says what the file end is worth, now that it is known which journal this is
// and before any segment is looked at closely. ok: there is one.
func (j *Journal) judgeEnd(e end, ok bool, found []*candidate, rec *Recovery) {
	noted := ok // by a version that keeps that file
	for _, c := range found {
		noted = noted || c.header.version >= notedVersion
	}
	switch {
	case len(found) == 0:
		j.ended, j.end.count = EndProven, e.count
		rec.Reserved = e.reserved // of the journal that was here before
	case ok && e.id == j.id:
		j.end, j.ended, rec.Reserved = e, EndOpen, e.reserved
		if e.closed {
			j.ended = EndProven
		}
	case (noted || rec.Fresh) && !j.cfg.Copy:
		j.ended = EndUnknown
	default:
		j.ended = EndUnnoted
	}
}

// beginEnd makes the file end when there never was one. Without it no record is
// appended, so that a disk which has no space for it is told of then.
func (j *Journal) beginEnd() error {
	var err error
	switch {
	case j.end.id != 0:
	case j.ended == EndProven:
		return j.writeEnd(end{closed: true})
	case j.ended == EndUnnoted:
		last := j.Written()
		if err = j.writeEnd(end{last: last, reserved: last + ReserveAhead}); noSpace(err) {
			return nil
		}
	}
	return err
}

// concludeEnd says what is known of the end now that the newest record is known.
func (j *Journal) concludeEnd(rec *Recovery) {
	last := j.Written()
	switch {
	case j.ended == EndUnknown:
		j.damage(Damage{File: endFile, Reason: "it is missing or damaged: how far positions were given is not known"}, rec)
	case j.ended == EndProven && last > j.end.last, j.ended == EndOpen && last > j.end.reserved:
		j.ended = EndUnknown
		j.damage(Damage{File: endFile, Reason: "it is older than the journal: how far positions were given is not known"}, rec)
	case j.ended == EndProven && len(rec.Damage) > 0:
		j.ended = EndOpen
	}
	rec.End, j.unproven = j.ended, j.ended != EndProven
}
