package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/picloud/picloud"
)

// Faults of a file itself.
var (
	errNotRegular = errors.New("this is not a regular file (a link, a pipe, a device): drop a copy of the file itself")
	errEmpty      = errors.New("the file is empty: write one JSON value, or remove it")
	errChanged    = errors.New("the file changed while it was read")
)

// faultError is a fault of a file that its reason file tells.
type faultError struct {
	line int // from 1; 0: the file as a whole
	done int // events of the file that were published before the fault showed
	err  error
}

// Error says where and what.
func (e *faultError) Error() string {
	text := e.err.Error()
	if public := picloud.AsError(e.err); public != nil {
		text = public.Error()
	}
	if e.line > 0 {
		text = fmt.Sprintf("line %d: %s", e.line, text)
	}
	if e.done > 0 {
		text += fmt.Sprintf("\nThe first %d events of this file have been published; publish only the rest again.", e.done)
	}
	return text
}

// Unwrap returns the fault without its place.
func (e *faultError) Unwrap() error { return e.err }

// part is one publication of a file.
type part struct {
	drafts []picloud.Draft
	lines  []int // of each draft, from 1
}

// take publishes the file at path and moves it away, or leaves it in place when
// the node cannot take it now.
func (s *Spool) take(ctx context.Context, path string, st stamp) {
	err := s.publish(ctx, path, st)
	switch {
	case err == nil:
		s.refusals.Reset()
		delete(s.seen, path)
		delete(s.held, filepath.Dir(path))
		s.files.Inc()
		s.archive(path, st)
	case errors.Is(err, errChanged), errors.Is(err, os.ErrNotExist), ctx.Err() != nil:
		s.due(s.cfg.Now().Add(s.cfg.Settle)) // not complete after all, or not ours to finish
	case isFolder(err):
		s.putUpWith(path, st, err)
	case overLimit(err):
		s.hold(filepath.Dir(path), err)
	case temporary(err):
		s.refused(err)
	case !s.still(path, st, s.cfg.Now()):
		// A file that looked complete but is at fault gets its time to settle:
		// perhaps its writer is not done yet.
	default:
		delete(s.seen, path)
		s.reject(path, st, err)
	}
}

// publish publishes the events of a file. A *faultError is the file's own fault.
func (s *Spool) publish(ctx context.Context, path string, st stamp) error {
	place, err := PlaceOf(s.relative(path))
	if err != nil {
		return &faultError{err: err}
	}
	content, err := s.read(path, st)
	if err != nil {
		return err
	}
	parts, err := split(place, content)
	if err != nil {
		return err
	}
	by := picloud.Principal{Kind: picloud.KindSpool, App: place.App, Scopes: []picloud.Scope{picloud.ScopeAppPublish}}
	if c, ok := s.cfg.Publisher.(Checker); ok {
		for _, p := range parts {
			if err := c.Check(picloud.Publication{App: place.App, By: by, Drafts: p.drafts}); err != nil {
				return s.blame(p, place, by, 0, err)
			}
		}
	}
	if err := s.prepare(path); err != nil {
		return err
	}
	key := keyOf(place, st, content)
	done, began := 0, s.cfg.Now()
	for i, p := range parts {
		events, err := s.cfg.Publisher.Publish(ctx, picloud.Publication{
			App: place.App, By: by, Drafts: p.drafts, IdempotencyKey: key + strconv.Itoa(i),
		})
		if err != nil {
			return s.blame(p, place, by, done, err)
		}
		if len(events) > 0 && events[0].PublishedAt.Add(time.Second).Before(began) {
			s.log.Info("these events had been published before and were not again: copy a file anew to repeat it", slog.String("app", place.App), slog.String("topic", place.Topic))
		}
		done += len(p.drafts)
		s.events.Add(len(p.drafts))
	}
	s.log.Debug("a file was published", slog.String("app", place.App), slog.String("topic", place.Topic), slog.Int("events", done))
	return nil
}

// blame finds the line of a part that err is about.
func (s *Spool) blame(p part, place Place, by picloud.Principal, done int, err error) error {
	if temporary(err) {
		return err
	}
	fault := &faultError{done: done, err: err}
	c, ok := s.cfg.Publisher.(Checker)
	if !ok || !place.Lines {
		return fault
	}
	for i, d := range p.drafts {
		if one := c.Check(picloud.Publication{App: place.App, By: by, Drafts: []picloud.Draft{d}}); one != nil {
			fault.line, fault.err = p.lines[i], one
			if temporary(one) {
				return one
			}
			return fault
		}
	}
	return fault
}

// overLimit reports whether a refusal is about one app, which is over a limit.
func overLimit(err error) bool {
	e := picloud.AsError(err)
	return temporary(err) && e != nil && e.Code == picloud.CodeTooMany
}

// temporary reports whether a refusal is about the state of the node, not about
// the file: everything without a public error, and what says "later".
func temporary(err error) bool {
	if _, own := errors.AsType[*faultError](err); own {
		return false
	}
	e := picloud.AsError(err)
	if e == nil {
		return true
	}
	switch e.Code {
	case picloud.CodeUnavailable, picloud.CodeNoSpace, picloud.CodeTooMany, picloud.CodeInternal:
		return true
	default:
		return false
	}
}

// read returns the content of a regular file, if it is still what was looked
// at. It follows no link and waits for no writer of a pipe, whatever has taken
// the place of the file, or of a folder on the way, since.
func (s *Spool) read(path string, st stamp) ([]byte, error) {
	if st.size > s.cfg.MaxFile {
		return nil, &faultError{err: fmt.Errorf("the file has %d bytes, the limit is %d: split it", st.size, s.cfg.MaxFile)}
	}
	in, err := s.folder(filepath.Dir(path))
	if err != nil {
		return nil, readFault(err)
	}
	defer func() { _ = in.Close() }() // only read
	f, err := in.OpenFile(filepath.Base(path), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, readFault(err)
	}
	defer func() { _ = f.Close() }()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() || stampOf(fi) != st {
		return nil, errors.Join(errChanged, err)
	}
	content, err := io.ReadAll(io.LimitReader(f, st.size+1))
	if err != nil {
		return nil, readFault(err)
	}
	if fi, err := f.Stat(); err != nil || stampOf(fi) != st || int64(len(content)) != st.size {
		return nil, errors.Join(errChanged, err)
	}
	return content, nil
}

// readFault sorts errors of opening and reading: what the node lacks, what has
// changed meanwhile, and what is wrong with this one file, which must not keep
// others waiting.
func readFault(err error) error {
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
		return fmt.Errorf("read a file of the spool: %w", err)
	case errors.Is(err, os.ErrNotExist), errors.Is(err, errNotFolder), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENXIO):
		return errors.Join(errChanged, err)
	case errors.Is(err, os.ErrPermission):
		return &faultError{err: errors.New("the file cannot be read: give the group picloud the right to read it (chmod g+r)")}
	}
	return &faultError{err: fmt.Errorf("the file cannot be read: %w", err)}
}

// split cuts a file into publications. It depends on nothing but the file, so
// that a repetition after a crash has the same parts.
func split(place Place, content []byte) ([]part, error) {
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, &faultError{err: errEmpty}
	}
	if !place.Lines {
		return []part{{drafts: []picloud.Draft{{Topic: place.Topic, Data: content}}, lines: []int{1}}}, nil
	}
	var parts []part
	bytesOf, line := 0, 0
	for raw := range bytes.Lines(content) {
		line++
		data := bytes.TrimSpace(raw)
		if len(data) == 0 {
			continue
		}
		if last := len(parts) - 1; last < 0 || len(parts[last].drafts) == picloud.MaxBatch || bytesOf+len(data) > picloud.MaxBatchBytes {
			parts = append(parts, part{})
			bytesOf = 0
		}
		p := &parts[len(parts)-1]
		p.drafts = append(p.drafts, picloud.Draft{Topic: place.Topic, Data: data})
		p.lines = append(p.lines, line)
		bytesOf += len(data)
	}
	return parts, nil
}

// keyOf returns the beginning of the idempotency keys of a file. It names the
// file by inode and time besides its content, so that the same content dropped
// again is published again.
func keyOf(place Place, st stamp, content []byte) string {
	h := sha256.New()
	var n [24]byte
	binary.BigEndian.PutUint64(n[:], uint64(st.ino))         // #nosec G115 -- hashed
	binary.BigEndian.PutUint64(n[8:], uint64(st.mtime))      // #nosec G115 -- hashed
	binary.BigEndian.PutUint64(n[16:], uint64(len(content))) // ends the numbers, begins the texts
	h.Write(n[:])
	h.Write(content)
	h.Write([]byte(place.Topic))
	return "spool-" + hex.EncodeToString(h.Sum(nil)[:16]) + "-"
}
