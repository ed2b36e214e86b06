package journal

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
)

// damagedDir is where damaged files are kept, beside the journal's directory.
func (j *Journal) damagedDir() string { return filepath.Join(filepath.Dir(j.cfg.Dir), "damaged") }

// asideName returns the dated name under which a damaged file is kept, in a directory
// that is there.
func (j *Journal) asideName(name string) (string, error) {
	dir, now := j.damagedDir(), j.cfg.Now()
	return filepath.Join(dir, name+"."+asideTime(now)), MakeDamaged(j.fs, dir, now)
}

// keep gives a damaged file a second, dated name.
func (j *Journal) keep(name string) (string, error) {
	to, err := j.asideName(name)
	if err != nil {
		return "", err
	}
	if err := j.fs.Link(j.path(name), to); err != nil {
		return "", fmt.Errorf("set %s aside: %w", name, err)
	}
	if err := j.fs.SyncDir(j.damagedDir()); err != nil {
		return "", fmt.Errorf("set %s aside: %w", name, err)
	}
	return to, nil
}

// setAside takes a file out of the journal. d says what is lost with it.
func (j *Journal) setAside(c *candidate, reason string, d Damage, rec *Recovery) error {
	s := c.segment
	to, err := j.keep(s.name)
	if err != nil {
		return err
	}
	d.File, d.SetAside, d.Reason = s.name, to, reason
	if err := j.announce(d); err != nil {
		return err
	}
	if err := j.fs.Remove(j.path(s.name)); err != nil {
		return err
	}
	if err := j.fs.SyncDir(j.cfg.Dir); err != nil {
		return err
	}
	j.segments = slices.DeleteFunc(j.segments, func(o *segment) bool { return o == s })
	c.segment = nil
	j.damage(d, rec)
	return s.file.Close()
}

// announce tells the caller of Open of damage.
func (j *Journal) announce(d ...Damage) error {
	if j.cfg.Found == nil || len(d) == 0 {
		return nil
	}
	return j.cfg.Found(d...)
}

func (j *Journal) damage(d Damage, rec *Recovery) {
	rec.Damage = append(rec.Damage, d)
	j.log.Error("journal is damaged", slog.String("file", d.File), slog.String("set_aside", d.SetAside), slog.Uint64("first_lsn", uint64(d.First)), slog.Uint64("last_lsn", uint64(d.Last)), slog.String("reason", d.Reason))
}

// repair replaces a damaged segment by a file with what could be decoded and a
// record of KindLost in each gap. The newest is appended to afterwards. next is
// the LSN to go on with; repair returns a later one when records reach further.
func (j *Journal) repair(c *candidate, b []byte, runs []run, next LSN, reason string, newest bool, rec *Recovery) (LSN, error) {
	for i := range runs {
		runs[i].dropContinued(b)
		runs[i].dropOpenUnit(b)
	}
	next = max(next, runs[0].next)
	for i := range runs {
		if runs[i].records > 0 {
			next = max(next, runs[i].next)
		}
	}
	return next, j.replace(c, b, runs, next, newest, reason, rec)
}

// replace writes the surviving runs to a fresh file and puts it in the place of
// the damaged one, which is kept. next is the LSN after the last that belongs
// here.
func (j *Journal) replace(c *candidate, b []byte, runs []run, next LSN, newest bool, reason string, rec *Recovery) error {
	old := c.segment
	var body []byte
	var lost []Damage
	want := old.base
	gap := func(upTo LSN) {
		if want < upTo {
			body = appendRecord(body, j.id, &Record{LSN: want, Kind: KindLost, At: j.cfg.Now().UnixMicro(), Body: lostRange(want, upTo-1)}, false, 0)
			lost = append(lost, Damage{First: want, Last: upTo - 1})
		}
	}
	for i := range runs {
		r := &runs[i]
		if r.records == 0 {
			continue
		}
		gap(r.first)
		body = append(body, b[r.start:r.end]...)
		want = r.next
	}
	gap(next)
	to, err := j.keep(old.name)
	if err != nil {
		return err
	}
	for i := range lost {
		lost[i].File, lost[i].SetAside, lost[i].Reason = old.name, to, reason
	}
	if err := j.announce(lost...); err != nil {
		return err
	}
	s, err := j.writeSegment(old.base, body, old.size, newest)
	if err != nil {
		return err
	}
	if err := j.swap(c, s); err != nil {
		return err
	}
	if newest {
		j.active = s
	} else {
		j.unsealed = append(j.unsealed, s)
	}
	for _, d := range lost {
		j.damage(d, rec)
	}
	if len(lost) == 0 { // only the header was damaged
		j.log.Warn("journal file repaired without loss", slog.String("file", old.name), slog.String("set_aside", to), slog.String("reason", reason))
	}
	return nil
}

// swap puts a segment in the place of another, whose file it has replaced.
func (j *Journal) swap(c *candidate, s *segment) error {
	old := c.segment
	j.segments[slices.Index(j.segments, old)] = s
	c.segment = s
	return old.file.Close()
}

// beginAgain replaces a newest segment that never got its header.
func (j *Journal) beginAgain(c *candidate) error {
	s, err := j.writeSegment(c.segment.base, nil, j.cfg.SegmentSize, true)
	if err != nil {
		return err
	}
	j.active = s
	return j.swap(c, s)
}

// fillGap puts a file with one record of KindLost where segments are missing. The newest
// is appended to afterwards.
func (j *Journal) fillGap(first, last LSN, newest bool, reason string, rec *Recovery) error {
	body := appendRecord(nil, j.id, &Record{LSN: first, Kind: KindLost, At: j.cfg.Now().UnixMicro(), Body: lostRange(first, last)}, false, 0)
	d := Damage{File: segmentName(first), First: first, Last: last, Reason: reason}
	if err := j.announce(d); err != nil {
		return err
	}
	s, err := j.writeSegment(first, body, dataStart, newest)
	if err != nil {
		return err
	}
	j.segments = append(j.segments, s)
	if newest {
		j.active = s
	}
	j.damage(d, rec)
	return nil
}

// writeSegment makes a segment of given records, durably and at once, in the
// place of a file of the same name. The newest has its full size.
func (j *Journal) writeSegment(base LSN, body []byte, size int64, newest bool) (*segment, error) {
	size = max(size, dataStart+int64(len(body)))
	if newest {
		size = max(size, j.cfg.SegmentSize)
	}
	name := segmentName(base)
	tmp := j.path(name + ".tmp")
	f, err := j.fs.Create(tmp)
	if err != nil {
		return nil, fmt.Errorf("repair %s: %w", name, err)
	}
	b := append(j.header(base, size), body...)
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = fill(f, int64(len(b)), size)
	}
	if err == nil {
		err = f.Datasync()
	}
	if err == nil {
		err = j.fs.Rename(tmp, j.path(name))
	}
	if err == nil {
		err = j.fs.SyncDir(j.cfg.Dir)
	}
	if err != nil {
		_ = f.Close() // the first error is the one to tell
		return nil, fmt.Errorf("repair %s: %w", name, err)
	}
	s := &segment{name: name, file: f, base: base, size: size, keys: map[string]*keyIndex{}}
	r := walk(j.id, b, dataStart, base)
	s.indexRun(b, &r)
	return s, nil
}
