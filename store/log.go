package store

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// OpenLog returns a reader of everything after an LSN that concerns somebody
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
		l.s.health.damaged(damage)
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

// changeOf returns what a row means to others; nil: nothing.
func changeOf(row change) (*picloud.Change, error) {
	key := string(row.key)
	app, name, _ := strings.Cut(key, "\x00")
	c := &picloud.Change{App: app, Name: name}
	switch row.table {
	case tableApp:
		c.Kind, c.Name = picloud.ChangeApp, app
		if row.value != nil {
			var r appRow
			if err := cborDecode(row.value, &r); err != nil {
				return nil, err
			}
			c.Value = r.App
		}
		return c, nil
	case tableTopic:
		c.Kind = picloud.ChangeTopic
		return decodeInto[picloud.Topic](c, row.value)
	case tableKey:
		c.Kind, c.App, c.Name = picloud.ChangeAPIKey, "", key
		return decodeInto[picloud.APIKey](c, row.value)
	case tableSigning:
		c.Kind = picloud.ChangeSigningKey
		return decodeInto[picloud.SigningKey](c, row.value)
	case tableClock:
		c.Kind, c.App, c.Name = picloud.ChangeClock, "", key
		var r clockRow
		if row.value != nil {
			if err := cborDecode(row.value, &r); err != nil {
				return nil, err
			}
		}
		if !r.Started.IsZero() {
			c.Value = r.Started.UTC()
		}
		return c, nil
	case tableKV:
		c.Kind = picloud.ChangeKV
		if row.value != nil {
			e, err := decodeEntry(app, name, row.value)
			if err != nil {
				return nil, err
			}
			c.Value = e
		}
		return c, nil
	case tableScript:
		c.Kind = picloud.ChangeScript
		return decodeInto[picloud.Script](c, row.value)
	case tableDoc:
		c.Kind = picloud.ChangeDocument
		if row.value != nil {
			d, err := decodeDocument(key, row.value)
			if err != nil {
				return nil, err
			}
			c.Value = d
		}
		return c, nil
	case tableCollection:
		c.Kind = picloud.ChangeCollection
		if row.value != nil {
			var r collectionRow
			if err := cborDecode(row.value, &r); err != nil {
				return nil, err
			}
			c.Value = r.Collection
		}
		return c, nil
	case tableSecret:
		c.Kind = picloud.ChangeSecret
		return decodeInto[picloud.Secret](c, row.value)
	case tableEndpoint:
		c.Kind = picloud.ChangeEndpoint
		return decodeInto[picloud.Endpoint](c, row.value)
	case tableTrigger:
		c.Kind = picloud.ChangeTrigger
		return decodeInto[picloud.Trigger](c, row.value)
	case tableLetter:
		c.Kind = picloud.ChangeDeadLetter
		if row.value != nil {
			var l letterRow
			if err := cborDecode(row.value, &l); err != nil {
				return nil, err
			}
			c.Value = l.Letter
		}
		return c, nil
	case tableFloor, tableSequence, tableIdem, tableAnchor, tableCursor, tableNote, tableExpiry, tableScriptVersion, tableRun, tableDelivery, tableAttempt, tableTick, tableDocIndex, tableResult:
	}
	return nil, nil //nolint:nilnil // a row that concerns the node alone is no change, and no fault
}

// decodeInto sets the value of a change; no bytes mean that the thing is gone.
func decodeInto[T any](c *picloud.Change, value []byte) (*picloud.Change, error) {
	if value == nil {
		return c, nil
	}
	var v T
	if err := cborDecode(value, &v); err != nil {
		return nil, err
	}
	c.Value = v
	return c, nil
}
