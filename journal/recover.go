package journal

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Open recovers the journal in cfg.Dir, or begins one. What it finds damaged is
// set aside and reported; an error means that nothing could be done.
func Open(cfg Config) (*Journal, Recovery, error) {
	j := newJournal(cfg)
	rec, err := j.recover()
	if err != nil {
		for _, s := range j.segments {
			_ = s.file.Close() // the first error is the one to tell
		}
		if j.endMark != nil {
			_ = j.endMark.Close()
		}
		return nil, Recovery{}, fmt.Errorf("open journal: %w", err)
	}
	return j, rec, nil
}

// newJournal returns a Journal that knows nothing yet.
func newJournal(cfg Config) *Journal {
	if cfg.FS == nil {
		cfg.FS = OS{}
	}
	if cfg.SegmentSize == 0 {
		cfg.SegmentSize = DefaultSegmentSize
	}
	cfg.SegmentSize = max(cfg.SegmentSize, minSegmentSize)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Journal{
		cfg: cfg, fs: cfg.FS, log: cfg.Logger.With(slog.String("component", "journal")),
		maxGroup: min(MaxGroup, cfg.SegmentSize/4), wake: make(chan struct{}), chores: make(chan struct{}, 1),
	}
}

func (j *Journal) recover() (Recovery, error) {
	if err := j.fs.MkdirAll(j.cfg.Dir); err != nil {
		return Recovery{}, err
	}
	var rec Recovery
	found, err := j.list(&rec)
	if err != nil {
		return rec, err
	}
	e, ok, err := j.findEnd(&rec)
	if err != nil {
		return rec, err
	}
	if err := j.identify(found, e.id, &rec); err != nil {
		return rec, err
	}
	j.judgeEnd(e, ok, found, &rec)
	if err := j.dropStrangers(found, &rec); err != nil {
		return rec, err
	}
	want := LSN(0) // what the next segment should begin with; 0: the oldest may begin anywhere
	for i, f := range found {
		if f.segment == nil {
			continue // set aside
		}
		nextBase := LSN(0)
		for _, n := range found[i+1:] {
			if n.segment != nil {
				nextBase = n.segment.base
				break
			}
		}
		if want, err = j.take(f, want, nextBase, &rec); err != nil {
			return rec, err
		}
	}
	if want, err = j.restBehind(want, found, &rec); err != nil {
		return rec, err
	}
	if err := j.begin(want); err != nil {
		return rec, err
	}
	j.concludeEnd(&rec)
	rec.ID, rec.Oldest = j.id, j.segments[0].base
	if rec.Last = j.Written(); rec.Last >= rec.Oldest {
		rec.First = rec.Oldest
	}
	return rec, j.beginEnd()
}

// restBehind notes that records are lost behind the newest segment there is, and
// returns the LSN to go on with.
func (j *Journal) restBehind(want LSN, found []*candidate, rec *Recovery) (LSN, error) {
	want = max(want, 1)
	gone := j.complete || j.end.last >= want
	if j.active != nil || len(found) == 0 || !gone || j.provenEnd(want-1) {
		return want, nil
	}
	last := max(want, j.end.last)
	return last + 1, j.fillGap(want, last, true, "the file is missing", rec)
}

// candidate is a file that has the name of a segment.
type candidate struct {
	segment *segment // nil once set aside
	header  header
	valid   bool // the header is; when only its copy is, header is that
	short   bool // the file is shorter than its header says
}

// list opens the segments, oldest first, and takes note of spare files.
func (j *Journal) list(rec *Recovery) ([]*candidate, error) {
	names, err := j.fs.List(j.cfg.Dir)
	if err != nil {
		return nil, err
	}
	var found []*candidate
	strange := map[string]string{}
	for _, name := range names {
		if base, ok := segmentBase(name); ok {
			c, err := j.candidate(name, base)
			if odd, is := errors.AsType[*oddError](err); is {
				strange[name] = odd.Error()
				continue
			}
			if err != nil {
				return nil, err // a newer format, for one: nothing has been touched
			}
			found = append(found, c)
			j.segments = append(j.segments, c.segment) // so that an error closes them
		}
	}
	for name, reason := range strange {
		if err := j.moveAside(name, reason, rec); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		switch {
		case strings.HasSuffix(name, ".tmp"):
			j.removeOdd(name) // never finished; it costs only space
		case strings.HasPrefix(name, sparePrefix):
			j.noteSpare(name)
		}
	}
	slices.SortFunc(found, func(a, b *candidate) int { return cmp.Compare(a.segment.base, b.segment.base) })
	return found, nil
}

// maxUnsaid bounds how much of a file is read that does not say how long it is.
const maxUnsaid = 64 << 20

// candidate opens a file. An *oddError: it is none, or has a name that none can have.
func (j *Journal) candidate(name string, base LSN) (*candidate, error) {
	if base > maxLSN {
		return nil, &oddError{what: "beyond all records"}
	}
	f, err := j.fs.Open(j.path(name))
	if err != nil {
		return nil, err
	}
	if m, ok := f.(interface{ forget() }); ok && !j.cfg.Peeked {
		m.forget()
	}
	size, err := f.Size()
	if err != nil {
		_ = f.Close() // the first error is the one to tell
		return nil, err
	}
	c := &candidate{segment: &segment{name: name, file: f, base: base, last: base - 1, size: size, end: dataStart, keys: map[string]*keyIndex{}}}
	b := make([]byte, headerSize)
	if _, err := f.ReadAt(b, 0); err == nil {
		c.header, c.valid = parseHeader(b)
	}
	if !c.valid {
		if _, err := f.ReadAt(b, headerCopy); err == nil {
			c.header, _ = parseHeader(b)
		}
	}
	if c.header.version > formatVersion {
		_ = f.Close()
		return nil, &VersionError{File: name, Version: c.header.version, Known: formatVersion}
	}
	c.bound(j.cfg.SegmentSize)
	return c, nil
}

// bound notes whether the file is shorter than it was made, and forgets what it has
// beyond that. One of the first version may have grown with the setting.
func (c *candidate) bound(segmentSize int64) {
	s, made := c.segment, c.header.size
	c.short = s.size < made
	if c.header.version < notedVersion {
		made = max(made, segmentSize, maxUnsaid)
	} else {
		s.made = made
	}
	s.size = min(s.size, made)
}

// dropStrangers sets files aside that say of themselves nothing, and have names of LSNs
// that were never given.
func (j *Journal) dropStrangers(found []*candidate, rec *Recovery) error {
	if j.ended != EndOpen && j.ended != EndProven || j.end.id == 0 {
		return nil
	}
	for _, c := range found {
		if c.segment == nil || c.header.id != 0 || c.segment.base <= j.end.reserved+1 {
			continue
		}
		if err := j.setAside(c, "its name is beyond all records", Damage{}, rec); err != nil {
			return err
		}
	}
	return nil
}

func (j *Journal) noteSpare(name string) {
	f, err := j.fs.Open(j.path(name))
	if err == nil {
		size, serr := f.Size()
		err = errors.Join(serr, f.Close())
		if err == nil && size == j.cfg.SegmentSize && len(j.spares) < maxSpares {
			j.addSpare(name)
			return
		}
	}
	j.removeOdd(name) // it costs only space
}

// identify finds out which journal this is: the one that most segments say, and
// of equals the newest; or, when none says, what the file end says, noted. Segments of
// others are set aside.
func (j *Journal) identify(found []*candidate, noted uint64, rec *Recovery) error {
	j.segments = nil
	for _, c := range found {
		j.segments = append(j.segments, c.segment)
	}
	if j.id = majority(found); j.id == 0 && len(found) > 0 {
		j.id = noted
	}
	if j.id == 0 {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return err
		}
		j.id = binary.LittleEndian.Uint64(b[:]) | 1
		rec.Fresh = true // what files there are, none says which journal it is of
	}
	j.segments = nil
	for _, c := range found {
		if c.valid && (c.header.id != j.id || c.header.base != c.segment.base) {
			if err := j.setAside(c, "it belongs to another journal", Damage{}, rec); err != nil {
				return err
			}
			continue
		}
		j.segments = append(j.segments, c.segment) // so that an error closes them
	}
	return nil
}

// majority returns the journal that most files say they are of; 0: none says.
func majority(found []*candidate) (id uint64) {
	votes := map[uint64]int{}
	for _, c := range found {
		if c.header.id == 0 {
			continue
		}
		votes[c.header.id]++
		if votes[c.header.id] >= votes[id] {
			id = c.header.id
		}
	}
	return id
}

// take brings one segment into order. want is the LSN it should begin with, and
// nextBase the one the following segment begins with (0: it is the newest). It
// returns the LSN that should follow.
func (j *Journal) take(c *candidate, want, nextBase LSN, rec *Recovery) (LSN, error) {
	s := c.segment
	if want != 0 && s.base < want {
		err := j.setAside(c, "it overlaps the segment before", Damage{}, rec)
		return want, err
	}
	if want != 0 && s.base > want {
		if err := j.fillGap(want, s.base-1, false, "the file is missing", rec); err != nil {
			return 0, err
		}
	}
	if c.valid && nextBase != 0 && nextBase <= j.cfg.ScanFrom && s.readFooter() == nil && s.last == nextBase-1 {
		return nextBase, nil
	}
	if footer := *s; c.valid && nextBase == 0 && footer.readFooter() == nil { // it was complete: another has followed it
		j.complete, nextBase = true, footer.last+1
		if nextBase <= j.cfg.ScanFrom {
			*s = footer
			return nextBase, nil
		}
	}
	b := readAll(s.file, s.size)
	runs := scan(j.id, b, s.base)
	if nextBase == 0 {
		return j.takeNewest(c, b, runs, rec)
	}
	if c.valid && len(runs) == 1 && runs[0].next >= nextBase && !runs[0].open {
		s.indexRun(b, &runs[0])
		if footer := *s; footer.readFooter() == nil && footer.last == s.last && footer.end == s.end {
			s.keys = footer.keys
		} else {
			j.unsealed = append(j.unsealed, s)
		}
		return runs[0].next, nil
	}
	reason := "records are damaged"
	if !c.valid {
		reason = "the header is damaged"
	}
	return j.repair(c, b, runs, nextBase, reason, false, rec)
}

// takeNewest brings the newest segment into order: here, and only here, the
// tail may be torn.
func (j *Journal) takeNewest(c *candidate, b []byte, runs []run, rec *Recovery) (LSN, error) {
	s := c.segment
	j.active = s
	known := max(s.base-1, j.end.last, s.readDurable(j.id))
	kept := acknowledged(runs, known)
	switch {
	case !c.valid && isZero(b) && (j.provenEnd(s.base-1) || j.ended == EndUnnoted): // nothing was in it
		return s.base, j.beginAgain(c)
	case !c.valid && runs[len(runs)-1].records == 0:
		// How many records there were is unknown: as many as it can have held,
		// so that no LSN is ever given twice.
		next := s.base + LSN(max(s.size, dataStart)/headSize) // #nosec G115 -- a count
		if j.end.id != 0 {
			next = max(s.base, known) + 1 // what may have been given beyond is skipped
		}
		return j.repair(c, b, []run{{first: s.base, next: s.base}}, next, "nothing in it can be read", true, rec)
	case !c.valid && runs[0].records == 0:
		return j.repair(c, b, runs, known+1, "the header is damaged", true, rec)
	case !c.valid:
		return j.repair(c, b, kept, known+1, "the header is damaged", true, rec)
	case len(kept) > 1:
		return j.repair(c, b, kept, known+1, "records are damaged", true, rec)
	}
	first := &runs[0]
	first.dropOpenUnit(b)
	switch last := first.next - 1; {
	case last < known:
		return j.repair(c, b, runs[:1], known+1, "records at its end are gone", true, rec)
	case c.short && !j.cfg.Copy && !j.provenEnd(last):
		return j.repair(c, b, runs[:1], last+2, "it is shorter than it was made", true, rec)
	}
	s.indexRun(b, first)
	rec.TornBytes = torn(b, runs, s.end, s.last)
	if len(runs) > 1 || rec.TornBytes > 0 {
		if err := j.wipe(s); err != nil {
			return 0, err
		}
	}
	return s.last + 1, nil
}

// torn counts the bytes behind end that belong to records after last.
func torn(b []byte, runs []run, end int64, last LSN) int64 {
	until := end
	for i := range runs {
		until = max(until, runs[i].end)
	}
	if until == end && int(end)+headSize <= len(b) {
		if n := recordLength(b[end:]); n <= MaxGroup && LSN(binary.LittleEndian.Uint64(b[end+8:])) == last+1 {
			until = min(end+int64(n), int64(len(b)))
		}
	}
	return until - end
}

// wipe overwrites what a torn group may have left behind the tail, as far as a
// group reaches: complete records there could join up with new ones.
func (j *Journal) wipe(s *segment) error {
	if err := fill(s.file, s.end, min(s.end+MaxGroup, s.size-trailerSize)); err != nil {
		return err
	}
	return s.file.Datasync()
}

// begin makes the journal ready to append at next.
func (j *Journal) begin(next LSN) error {
	slices.SortFunc(j.segments, func(a, b *segment) int { return cmp.Compare(a.base, b.base) })
	next = max(next, 1)
	if len(j.segments) == 0 && j.ended == EndProven && j.end.id == 0 {
		if err := j.beginEnd(); err != nil { // before there is a segment, which needs one
			return err
		}
	}
	if n := len(j.segments); n == 0 || j.segments[n-1] != j.active {
		s, err := j.activate(next)
		if err != nil {
			return err
		}
		j.segments = append(j.segments, s)
	}
	s := j.segments[len(j.segments)-1]
	if full := cmp.Or(s.made, j.cfg.SegmentSize); s.size < full { // a snapshot's copy
		if err := fill(s.file, s.size, full); err != nil {
			return err
		}
		s.size = full
	}
	// What a killed process wrote may still be on its way to the disk: it has
	// been accepted now, so it must get there.
	if err := s.file.Datasync(); err != nil {
		return err
	}
	j.active, j.tail, j.syncOff, j.syncLSN = s, s.end, s.end, next-1
	for name, k := range s.keys {
		j.footer += int64(len(name)) + 80 + int64(len(k.entries))*33
	}
	j.written.Store(uint64(next - 1))
	j.synced.Store(uint64(next - 1))
	if len(j.unsealed) > 0 {
		j.poke()
	}
	return nil
}

// readAll reads a file as far as it can be read; pages that cannot are zeros.
func readAll(f File, size int64) []byte {
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err == nil {
		return b
	}
	for at := int64(0); at < size; at += dataStart {
		page := b[at:min(at+dataStart, size)]
		if _, err := f.ReadAt(page, at); err != nil {
			clear(page)
		}
	}
	return b
}
