package store

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// OpenLog returns a reader of everything after an LSN that concerns others
// beside the node itself. A *picloud.RecordsGoneError when some of it was
// dropped.
func (s *Store) OpenLog(after uint64) (picloud.RecordReader, error) {
	rd, err := s.journal.NewReader(journal.LSN(after + 1))
	if errors.Is(err, journal.ErrGone) {
		return nil, s.gap()
	}
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return &logReader{s: s, rd: rd, passed: after}, nil
}

func (s *Store) gap() error {
	segments := s.journal.Segments()
	if len(segments) == 0 {
		return &picloud.RecordsGoneError{First: 1}
	}
	return &picloud.RecordsGoneError{First: uint64(segments[0].Base)}
}

// logReader is the store's picloud.RecordReader.
type logReader struct {
	s      *Store
	rd     *journal.Reader
	passed uint64
}

// Next implements picloud.RecordReader.
func (l *logReader) Next() (picloud.Record, error) {
	for {
		rec, err := l.rd.Next()
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, journal.ErrFailed):
			return picloud.Record{}, err
		case errors.Is(err, journal.ErrGone):
			return picloud.Record{}, l.s.gap()
		default:
			return l.passOver(err)
		}
		out, relevant, err := l.s.recordOf(&rec, l.passed)
		if err != nil {
			return picloud.Record{}, fmt.Errorf("record %d: %w", rec.LSN, err)
		}
		_, last := rec.Range()
		l.passed = uint64(last)
		if relevant {
			return out, nil
		}
	}
}

// passOver goes on behind what the disk does not give back: it must not hold up
// everything that comes after it.
func (l *logReader) passOver(cause error) (picloud.Record, error) {
	l.s.log.Error("journal is damaged: records are passed over", slog.Any("err", cause))
	if damage, ok := errors.AsType[*journal.DamageError](cause); ok {
		l.s.journalDamaged(damage)
	}
	lost, err := l.rd.Resync()
	if errors.Is(err, journal.ErrGone) {
		return picloud.Record{}, l.s.gap()
	}
	if err != nil {
		return picloud.Record{}, fmt.Errorf("read journal: %w", err)
	}
	l.passed += lost
	return picloud.Record{LSN: l.passed, Change: &picloud.Change{Kind: picloud.ChangeDropped, Value: lost}}, nil
}

// Passed implements picloud.RecordReader.
func (l *logReader) Passed() uint64 { return l.passed }

// Close implements picloud.RecordReader.
func (l *logReader) Close() error { return l.rd.Close() }

// recordOf turns a record of the journal into what it means to others, of whom
// one has come up to passed.
func (s *Store) recordOf(rec *journal.Record, passed uint64) (out picloud.Record, relevant bool, err error) {
	out = picloud.Record{LSN: uint64(rec.LSN), At: fromMicros(rec.At), More: rec.More, Size: len(rec.Key) + len(rec.Body)}
	switch rec.Kind {
	case kindEvent:
		ev, err := parseEvent(s.ident.epoch, rec)
		if err != nil {
			return out, false, err
		}
		ev.Durability = picloud.DurabilityLocal
		out.Event = &ev
		return out, true, nil
	case journal.KindThinned:
		first, last := rec.Range()
		out.LSN = uint64(last)
		out.Change = &picloud.Change{Kind: picloud.ChangeDropped, Value: uint64(last) - max(uint64(first)-1, passed)}
		return out, true, nil
	case kindChange:
		row, err := parseChange(rec.Body)
		if err != nil {
			return out, false, err
		}
		out.Change, err = changeOf(row)
		return out, out.Change != nil, err
	}
	return out, false, nil
}
