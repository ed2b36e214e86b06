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
	found, err := j.list()
	if err != nil {
		return Recovery{}, err
	}
	var rec Recovery
	if err := j.identify(found, &rec); err != nil {
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
	if err := j.begin(want); err != nil {
		return rec, err
	}
	rec.ID = j.id
	if rec.Last = j.Written(); rec.Last >= j.segments[0].base {
		rec.First = j.segments[0].base
	}
	return rec, nil
}

// candidate is a file that has the name of a segment.
type candidate struct {
	segment *segment // nil once set aside
	header  header
	valid   bool // the header is; when only its copy is, header is that
}

// list opens the segments, oldest first, and takes note of spare files.
func (j *Journal) list() ([]*candidate, error) {
	names, err := j.fs.List(j.cfg.Dir)
	if err != nil {
		return nil, err
	}
	var found []*candidate
	for _, name := range names {
		if base, ok := segmentBase(name); ok {
			c, err := j.candidate(name, base)
			if err != nil {
				return nil, err // a newer format, for one: nothing has been touched
			}
			found = append(found, c)
			j.segments = append(j.segments, c.segment) // so that an error closes them
		}
	}
	for _, name := range names {
		switch {
		case strings.HasSuffix(name, ".tmp"):
			_ = j.fs.Remove(j.path(name)) // never finished; it costs only space
		case strings.HasPrefix(name, sparePrefix):
			j.noteSpare(name)
		}
	}
	slices.SortFunc(found, func(a, b *candidate) int { return cmp.Compare(a.segment.base, b.segment.base) })
	return found, nil
}

func (j *Journal) candidate(name string, base LSN) (*candidate, error) {
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
	return c, nil
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
	_ = j.fs.Remove(j.path(name)) // it costs only space
}

// identify finds out which journal this is: the one that most segments say, and
// of equals the newest. Segments of others are set aside.
func (j *Journal) identify(found []*candidate, rec *Recovery) error {
	j.segments = nil
	for _, c := range found {
		j.segments = append(j.segments, c.segment)
	}
	j.id = majority(found)
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
		if err := j.fillGap(want, s.base-1, "the file is missing", rec); err != nil {
			return 0, err
		}
	}
	if c.valid && nextBase != 0 && nextBase <= j.cfg.ScanFrom && s.readFooter() == nil && s.last == nextBase-1 {
		return nextBase, nil
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
	kept := acknowledged(runs)
	switch {
	case !c.valid && isZero(b): // it was being begun
		return s.base, j.beginAgain(c)
	case !c.valid && runs[len(runs)-1].records == 0:
		// Nobody knows how many records there were: as many as it can have held,
		// so that no LSN is ever given twice.
		most := max(s.size, dataStart) / headSize
		return j.repair(c, b, []run{{first: s.base, next: s.base}}, s.base+LSN(most), "nothing in it can be read", true, rec) // #nosec G115 -- a count
	case !c.valid && runs[0].records == 0:
		return j.repair(c, b, runs, 0, "the header is damaged", true, rec)
	case !c.valid:
		return j.repair(c, b, kept, 0, "the header is damaged", true, rec)
	case len(kept) > 1:
		return j.repair(c, b, kept, 0, "records are damaged", true, rec)
	}
	first := &runs[0]
	first.dropOpenUnit(b)
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
	if err := fill(s.file, s.end, min(s.end+MaxGroup, s.size)); err != nil {
		return err
	}
	return s.file.Datasync()
}

// begin makes the journal ready to append at next.
func (j *Journal) begin(next LSN) error {
	slices.SortFunc(j.segments, func(a, b *segment) int { return cmp.Compare(a.base, b.base) })
	next = max(next, 1)
	if n := len(j.segments); n == 0 || j.segments[n-1] != j.active {
		s, err := j.activate(next)
		if err != nil {
			return err
		}
		j.segments = append(j.segments, s)
	}
	s := j.segments[len(j.segments)-1]
	if s.size < j.cfg.SegmentSize { // a snapshot's copy
		if err := fill(s.file, s.size, j.cfg.SegmentSize); err != nil {
			return err
		}
		s.size = j.cfg.SegmentSize
	}
	// What a killed process wrote may still be on its way to the disk: it has
	// been accepted now, so it must get there.
	if err := s.file.Datasync(); err != nil {
		return err
	}
	j.active, j.tail, j.syncOff, j.syncLSN = s, s.end, s.end, next-1
	for name, k := range s.keys {
		j.reserve += int64(len(name)) + 80 + int64(len(k.entries))*33
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
