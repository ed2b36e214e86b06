package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
)

// VersionError says that a newer version wrote a file of the journal.
type VersionError struct {
	File    string
	Version uint32
	Known   uint32 // the newest version this one reads
}

// Error says what to do.
func (e *VersionError) Error() string {
	return fmt.Sprintf("%s has format %d, this version knows %d; install the newer picloud", e.File, e.Version, e.Known)
}

// Is makes every VersionError an ErrVersion.
func (e *VersionError) Is(target error) bool { return target == ErrVersion }

// Peek reads the journal in cfg.Dir before Open does, and changes nothing. It returns
// a *VersionError when a newer version wrote a file. Otherwise it calls fn with every
// record of the journal id from cfg.ScanFrom on, and with all records of any other, in
// the order of their files; what is damaged is passed over, since Open finds it. It
// stops with the first error of fn. The record is valid during the call.
func Peek(cfg Config, id uint64, fn func(file string, r *Record) error) error {
	return lookAt(cfg, func(j *Journal, found []*candidate) error {
		if _, _, err := j.readEnd(); errors.Is(err, ErrVersion) {
			return fmt.Errorf("look at the journal: %w", err)
		}
		for _, c := range found {
			if version := c.segment.footerVersion(); version > footerFormat {
				return &VersionError{File: c.segment.name, Version: version, Known: footerFormat}
			}
		}
		for i, c := range found {
			if c.header.id == id && i+1 < len(found) && found[i+1].segment.base <= j.cfg.ScanFrom {
				continue
			}
			own := c.journal(found)
			if err := c.peek(own, own != id, j.cfg.ScanFrom, fn); err != nil {
				return err
			}
		}
		return nil
	})
}

// Survey reads all files of the journal id in cfg.Dir before Open does, and changes
// nothing. It calls fn with every record that can be read, in order, and stops with the
// first error of fn. The record is valid during the call.
func Survey(cfg Config, id uint64, fn func(r *Record) error) error {
	return lookAt(cfg, func(_ *Journal, found []*candidate) error {
		for _, c := range found {
			if c.journal(found) != id {
				continue
			}
			if err := c.peek(id, true, 0, func(_ string, r *Record) error { return fn(r) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// lookAt calls fn with the files of a journal, oldest first. There may be none.
func lookAt(cfg Config, fn func(j *Journal, found []*candidate) error) error {
	j := newJournal(cfg)
	names, err := j.fs.List(j.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the journal: %w", err)
	}
	slices.Sort(names) // their digits are the order
	var found []*candidate
	defer func() {
		for _, c := range found {
			_ = c.segment.file.Close() // only read
		}
	}()
	for _, name := range names {
		base, ok := segmentBase(name)
		if !ok {
			continue
		}
		c, err := j.candidate(name, base)
		if _, odd := errors.AsType[*oddError](err); odd {
			continue // Open moves it aside
		}
		if err != nil {
			return fmt.Errorf("look at the journal: %w", err)
		}
		found = append(found, c)
	}
	return fn(j, found)
}

// journal returns the journal that a file is of. Of one that does not say Open takes it for
// one of the others.
func (c *candidate) journal(found []*candidate) uint64 {
	if c.header.id == 0 {
		return majority(found)
	}
	return c.header.id
}

// peek calls fn with the valid records of a segment of a journal: those from an LSN on,
// or all.
func (c *candidate) peek(id uint64, all bool, from LSN, fn func(file string, r *Record) error) error {
	s := c.segment
	b := readAll(s.file, s.size)
	for _, r := range scan(id, b, s.base) {
		for at := r.start; at < r.end; {
			h, _ := parseHead(b[at:]) // valid: walked before
			if rec := h.record(b[at:]); all || rec.LSN >= from {
				if err := fn(s.name, &rec); err != nil {
					return err
				}
			}
			at += int64(h.length)
		}
	}
	return nil
}
