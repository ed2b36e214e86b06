package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/picloud/picloud/keyfile"
)

// Watcher applies the apps whose directories are in one folder, at the start and when
// their files change.
type Watcher struct {
	cfg    WatcherConfig
	log    *slog.Logger
	failed map[string]string        // the last fault of each directory, so that it is logged once
	linked map[string]keyfile.State // what is behind symbolic links, where inotify sees no change
}

// WatcherConfig configures a Watcher.
type WatcherConfig struct {
	Dir    string // the folder; it may be created later
	Store  Store
	Checks Checks
	Poll   time.Duration // how often the folder is looked at without inotify; default 30 s
	Links  time.Duration // how often files behind symbolic links are looked at; default 1 s
	Settle time.Duration // how long files must be still before they are read; default 300 ms
	Logger *slog.Logger  // default: none
}

// NewWatcher returns a Watcher, which does nothing until Run.
func NewWatcher(cfg WatcherConfig) *Watcher {
	cfg.Dir = filepath.Clean(cfg.Dir)
	if cfg.Settle == 0 {
		cfg.Settle = 300 * time.Millisecond // editors write a file in several steps
	}
	if cfg.Poll == 0 {
		cfg.Poll = 30 * time.Second
	}
	if cfg.Links == 0 {
		cfg.Links = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Watcher{cfg: cfg, log: cfg.Logger.With(slog.String("component", "provision")), failed: map[string]string{}}
}

// Run watches until ctx ends, and returns nil then. A directory that cannot be applied
// is logged and left as it is; the others are applied all the same.
func (w *Watcher) Run(ctx context.Context) error {
	var events chan fsnotify.Event // nil: none
	var faults chan error
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		w.log.Warn("apps are not watched: changes are found by looking", slog.Duration("every", w.cfg.Poll), slog.Any("err", err))
	} else {
		defer func() { _ = watcher.Close() }() // only watched
		events, faults = watcher.Events, watcher.Errors
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	look := time.NewTicker(w.cfg.Links)
	defer look.Stop()
	look.Stop() // nothing is behind links
	for {
		select {
		case <-timer.C:
			if watcher != nil {
				w.watch(watcher)
			}
			if w.linked = w.links(); len(w.linked) > 0 {
				look.Reset(w.cfg.Links)
			} else {
				look.Stop()
			}
			w.apply(ctx)
			if watcher == nil {
				timer.Reset(w.cfg.Poll)
			}
		case <-look.C:
			if now := keyfile.StatesOf(slices.Collect(maps.Keys(w.linked))...); !maps.Equal(now, w.linked) {
				w.linked = now
				timer.Reset(w.cfg.Settle)
			}
		case ev := <-events:
			if name := filepath.Clean(ev.Name); !strings.HasPrefix(filepath.Base(name), ".") && (name == w.cfg.Dir || strings.HasPrefix(name, w.cfg.Dir+"/")) {
				timer.Reset(w.cfg.Settle)
			}
		case err := <-faults:
			w.log.Warn("changes of apps may go unnoticed", slog.Any("err", err))
			timer.Reset(w.cfg.Settle)
		case <-ctx.Done():
			return nil
		}
	}
}

// watch adds all directories to the watcher, which ignores those it has already.
func (w *Watcher) watch(watcher *fsnotify.Watcher) {
	_ = watcher.Add(filepath.Dir(w.cfg.Dir)) // the directory itself may come later
	_ = watcher.Add(w.cfg.Dir)
	for _, app := range w.apps() {
		_ = watcher.Add(app)
		_ = watcher.Add(filepath.Join(app, "scripts")) // one that is missing has nothing to watch
	}
}

// links returns the states of what makes an app and is behind a symbolic link: the folder itself,
// those of apps, their files and scripts.
func (w *Watcher) links() map[string]keyfile.State {
	paths := []string{w.cfg.Dir}
	for _, app := range w.apps() {
		paths = append(paths, app, filepath.Join(app, File), filepath.Join(app, "scripts"))
		for _, dir := range []string{app, filepath.Join(app, "scripts")} {
			entries, _ := os.ReadDir(dir) // of one that cannot be read the app is told to be at fault
			for _, e := range entries {
				if _, ok := ScriptName(e.Name()); ok {
					paths = append(paths, filepath.Join(dir, e.Name()))
				}
			}
		}
	}
	return keyfile.StatesOf(slices.DeleteFunc(paths, func(path string) bool {
		_, err := os.Lstat(path)
		return err != nil || !keyfile.Linked(path) // what is not there yet comes into a folder that is watched, or linked
	})...)
}

// apps lists the directories in the folder; those without an app.toml may get one.
func (w *Watcher) apps() []string {
	entries, err := os.ReadDir(w.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // it may come later
	}
	if w.isNew(w.cfg.Dir, err) {
		w.log.Warn("apps cannot be read", slog.Any("err", err))
	}
	var dirs []string
	for _, e := range entries {
		if dir := filepath.Join(w.cfg.Dir, e.Name()); !strings.HasPrefix(e.Name(), ".") {
			if info, err := os.Stat(dir); err == nil && info.IsDir() {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

// apply applies all directories. Of two with the same app the first one wins, and the
// second one is a fault.
func (w *Watcher) apply(ctx context.Context) {
	from := map[string]string{} // directories by app
	for _, dir := range w.apps() {
		if _, err := os.Stat(filepath.Join(dir, File)); err != nil {
			continue
		}
		done, err := w.applyOne(ctx, dir, from)
		if len(done) > 0 {
			w.log.Info("app was applied", slog.String("dir", dir), slog.Int("changes", len(done)))
		}
		for _, s := range done {
			w.log.Debug("app was changed", slog.String("dir", dir), slog.String("action", string(s.Action)), slog.String("kind", s.Kind), slog.String("name", s.Name))
		}
		if ctx.Err() == nil && w.isNew(dir, err) {
			w.log.Error("app could not be applied; 'picloud apply --dry-run' says the same", slog.String("dir", dir), slog.Any("err", err))
		}
	}
}

// isNew reports whether a directory has a fault that is not the one it had before.
func (w *Watcher) isNew(dir string, err error) bool {
	if err == nil {
		delete(w.failed, dir)
		return false
	}
	before := w.failed[dir]
	w.failed[dir] = err.Error()
	return before != err.Error()
}

func (w *Watcher) applyOne(ctx context.Context, dir string, from map[string]string) ([]Step, error) {
	spec, err := Read(dir)
	if err != nil {
		return nil, err
	}
	if other, twice := from[spec.Name]; twice {
		return nil, fmt.Errorf("it is the app %s, which %s is already: give one of them another name", spec.Name, other)
	}
	from[spec.Name] = dir
	steps, err := Plan(ctx, w.cfg.Store, w.cfg.Checks, spec)
	if err != nil {
		return nil, err
	}
	return Apply(ctx, steps)
}
