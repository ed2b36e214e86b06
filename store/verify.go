package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// Verification is what a look at everything that is kept has read.
type Verification struct {
	Records uint64 // of the journal
	Rows    uint64 // of all tables
	Files   uint64
	Bytes   int64
	Damaged uint64 // records, rows and files; the incidents say more
}

// Verify reads the journal, the tables and the contents of files, and checks all of it.
// What is damaged becomes an incident. After each part it calls pace with what was read
// so far, which may wait; an error of it ends the look.
func (s *Store) Verify(ctx context.Context, pace func(v Verification) error) (v Verification, err error) {
	for _, part := range []func(context.Context, *Verification, func() error) error{s.verifyJournal, s.verifyRows, s.verifyFiles} {
		read := int64(0)
		err := part(ctx, &v, func() error { // a call for each 64 KiB is enough
			if v.Bytes-read < 64<<10 {
				return nil
			}
			read = v.Bytes
			return pace(v)
		})
		if err != nil {
			return v, err
		}
	}
	return v, pace(v)
}

func (s *Store) verifyJournal(ctx context.Context, v *Verification, pace func() error) error {
	rd, err := s.readerOfAll(v)
	if rd == nil {
		return err
	}
	defer func() { _ = rd.Close() }() // only read
	for end := s.journal.Written(); ctx.Err() == nil; {
		rec, err := rd.Next()
		damage, damaged := errors.AsType[*journal.DamageError](err)
		switch {
		case err == nil:
			v.Records++
			v.Bytes += int64(recordCost + len(rec.Key) + len(rec.Body))
		case errors.Is(err, io.EOF), errors.Is(err, journal.ErrGone):
			return nil
		case damaged:
			s.journalDamaged(damage)
			lost, err := rd.Resync()
			v.Damaged += lost
			if errors.Is(err, journal.ErrGone) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read the journal: %w", err)
			}
		default:
			return fmt.Errorf("read the journal: %w", err)
		}
		if rec.LSN >= end { // what came since was written since
			return nil
		}
		if err := pace(); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// readerOfAll returns a reader of the oldest record that can be read, or nil when there is
// none.
func (s *Store) readerOfAll(v *Verification) (*journal.Reader, error) {
	for _, segment := range s.journal.Segments() {
		rd, err := s.journal.NewReader(segment.Base)
		damage, damaged := errors.AsType[*journal.DamageError](err)
		switch {
		case damaged:
			s.journalDamaged(damage)
			v.Damaged++
		case errors.Is(err, journal.ErrGone):
		case err != nil:
			return nil, fmt.Errorf("read the journal: %w", err)
		default:
			return rd, nil
		}
	}
	return nil, nil
}

// How many rows, and bytes of them, are read before others have a turn: while they are
// read, state.db cannot reuse its pages.
const (
	rowsAtOnce     = 500
	rowBytesAtOnce = 256 << 10
)

// verifyRows reads all rows, which checks them.
func (s *Store) verifyRows(ctx context.Context, v *Verification, pace func() error) error {
	for _, tb := range tablesWhere(func(*rowKind) bool { return true }) {
		for after, more := "", true; more; {
			from, n, size := after, 0, 0
			more = false
			s.tables.scan(tb, "", from, func(key string, row []byte) bool {
				if key == from {
					return true
				}
				after = key
				n++
				size += len(key) + len(row)
				more = n >= rowsAtOnce || size >= rowBytesAtOnce
				return !more
			})
			v.Rows += uint64(n)
			v.Bytes += int64(size)
			if err := errors.Join(context.Cause(ctx), pace()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) verifyFiles(ctx context.Context, v *Verification, pace func() error) error {
	for _, app := range s.Apps() {
		for after := ""; ; {
			page, next, err := s.Files(app.Name, "", after, picloud.MaxPage)
			if err != nil {
				break // the app is being deleted
			}
			for _, f := range page {
				if err := s.verifyFile(ctx, v, &f, pace); err != nil {
					return err
				}
			}
			if after = next; next == "" {
				break
			}
		}
	}
	return nil
}

// verifyFile reads a content to its end.
func (s *Store) verifyFile(ctx context.Context, v *Verification, f *picloud.File, pace func() error) error {
	_, content, err := s.OpenFile(f.App, f.Path)
	if errors.Is(err, picloud.ErrFileNotFound) || errors.Is(err, picloud.ErrAppNotFound) {
		return nil
	}
	v.Files++
	if errors.Is(err, picloud.ErrFileLost) {
		v.Damaged++
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }() // only read
	for buf := make([]byte, 64<<10); ; {
		n, err := content.Read(buf)
		v.Bytes += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil: // told by who read it, or the disk does not give it
			v.Damaged++
			if !errors.Is(err, picloud.ErrFileDamaged) {
				s.contentDamaged(f, fmt.Sprintf("cannot be read: %v", err))
			}
			return nil
		}
		if err := errors.Join(context.Cause(ctx), pace()); err != nil {
			return err
		}
	}
}
