package sweeper

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Book keeps over a restart since when temporary files are known, by their names
// below the root. Losing it loses nothing: the disk knows, too.
type Book interface {
	Booked() (map[string]time.Time, error)
	// Book replaces what is in the book.
	Book(names map[string]time.Time) error
}

// maxAge is how old a temporary file may become. Who writes one that long writes
// all the time, or is gone.
const maxAge = time.Hour

// bookAfter is how long a temporary file has to live to be booked: most are gone
// before.
const bookAfter = 10 * time.Second

// Temps finds temporary files (*.tmp.*) below a directory that are older than an
// hour. A file is as old as the youngest thing that is known of it: when it was
// last written, and when it was first seen, by a time that does not jump as the
// clock of a board does.
type Temps struct {
	root string
	book Book
	log  *slog.Logger
	now  func() time.Time
	up   func() time.Duration

	mu     sync.Mutex               // guards what follows
	seen   map[string]time.Duration // since when, of the life of this process
	booked map[string]time.Time     // in the book
}

// NewTemps returns a Temps. The logger may be nil.
func NewTemps(root string, book Book, log *slog.Logger) *Temps {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	began := time.Now()
	t := &Temps{
		root: root, book: book, log: log.With(slog.String("component", "sweeper")), now: time.Now, up: func() time.Duration { return time.Since(began) },
		seen: map[string]time.Duration{}, booked: map[string]time.Time{},
	}
	names, err := book.Booked()
	maps.Copy(t.booked, names)
	if err != nil {
		t.log.Warn("book of temporary files cannot be read and is begun anew", slog.Any("err", err))
	}
	return t
}

// Task returns the task that removes them.
func (t *Temps) Task() Task {
	return Task{Name: "temporary files", Sweep: t.sweep, Follow: t.follow}
}

// isTemp reports whether a file is called as temporary ones are.
func isTemp(name string) bool { return strings.Contains(filepath.Base(name), ".tmp.") }

func (t *Temps) sweep(ctx context.Context) (removed int, err error) {
	there, err := t.list(ctx)
	if err != nil {
		return 0, err
	}
	if len(there) == 0 {
		t.forget(there)
		return 0, t.save()
	}
	root, err := os.OpenRoot(t.root) // a directory that has become a link meanwhile leads nowhere else
	if err != nil {
		return 0, err
	}
	defer func() { _ = root.Close() }() // nothing was written through it
	var faults []error
	for name, written := range there {
		if t.age(name, written) <= maxAge {
			continue
		}
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			faults = append(faults, err)
			continue
		}
		delete(there, name)
		removed++
	}
	t.forget(there)
	return removed, errors.Join(append(faults, t.save())...)
}

// list returns the temporary files there are, and when they were last written. What
// is gone meanwhile is not there, and so is a root that does not exist.
func (t *Temps) list(ctx context.Context) (map[string]time.Time, error) {
	there := map[string]time.Time{}
	err := filepath.WalkDir(t.root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && isTemp(path) {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				name, _ := filepath.Rel(t.root, path) // it is below
				there[name] = info.ModTime()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return errors.Join(err, ctx.Err())
	})
	return there, err
}

func (t *Temps) age(name string, written time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	age := t.now().Sub(written)
	if at, ok := t.seen[name]; ok {
		return min(age, t.up()-at)
	}
	if at, ok := t.booked[name]; ok {
		return min(age, t.now().Sub(at))
	}
	return age
}

// forget forgets what is not there any more; what has come since it was looked is.
func (t *Temps) forget(there map[string]time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	gone := func(name string) bool {
		if _, ok := there[name]; ok {
			return false
		}
		_, err := os.Lstat(filepath.Join(t.root, name))
		return errors.Is(err, fs.ErrNotExist)
	}
	maps.DeleteFunc(t.seen, func(name string, _ time.Duration) bool { return gone(name) })
	maps.DeleteFunc(t.booked, func(name string, _ time.Time) bool { return gone(name) })
}

// save brings the book up to date, if it is not.
func (t *Temps) save() error {
	names, err := t.book.Booked()
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, at := range t.seen {
		if age := t.up() - at; age >= bookAfter && t.booked[name].IsZero() {
			t.booked[name] = t.now().Add(-age).Truncate(time.Microsecond)
		}
	}
	if err == nil && maps.EqualFunc(names, t.booked, time.Time.Equal) {
		return nil
	}
	return t.book.Book(t.booked)
}

// follow keeps an eye on temporary files as they come and go.
func (t *Temps) follow(ctx context.Context) {
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		defer func() { _ = watcher.Close() }() // only watched
		err = watcher.Add(t.root)
	}
	if err != nil {
		t.log.Warn("temporary files are not watched: how old they are is told by the disk alone", slog.Any("err", err))
		return
	}
	var due <-chan time.Time // nil: there is nothing to book
	for {
		select {
		case ev := <-watcher.Events:
			if isTemp(ev.Name) && t.note(ev) && due == nil {
				due = time.After(bookAfter + time.Second)
			}
		case err := <-watcher.Errors: // some came or went unseen: the disk will tell
			t.log.Debug("temporary files were not watched for a moment", slog.Any("err", err))
		case <-due:
			due = nil
			if err := t.save(); err != nil {
				t.log.Warn("temporary files could not be booked", slog.Any("err", err))
			}
		case <-ctx.Done():
			return
		}
	}
}

// note takes in what happened to a temporary file, and reports whether the book may
// have to be changed for it.
func (t *Temps) note(ev fsnotify.Event) bool {
	name := filepath.Base(ev.Name)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case ev.Has(fsnotify.Create):
		t.seen[name] = t.up()
	case ev.Has(fsnotify.Remove), ev.Has(fsnotify.Rename):
		delete(t.seen, name)
		if _, ok := t.booked[name]; !ok {
			return false
		}
		delete(t.booked, name)
	default:
		return false
	}
	return true
}
