package daemon

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/picloud/picloud/keyfile"
)

// look is the time between two looks at files in whose directory a change is not seen: behind
// symbolic links, and those that settings name.
const look = time.Second

// settle is how long files must be still before they are read again: editors
// write in several steps.
const settle = 300 * time.Millisecond

// reloader reads the configuration again on SIGHUP and when its files change. It
// is applied whole or not at all; what needs a restart is said.
type reloader struct {
	opt     Options
	log     *slog.Logger
	hup     chan os.Signal
	watcher *fsnotify.Watcher // nil: all files are looked at
	secret  *secretWatch
}

// newReloader begins to listen for SIGHUP, which would end a process that does not, and
// to watch the files: a node that is ready can be told to reload. Run ends both.
func newReloader(cfg Config, opt Options, log *slog.Logger) *reloader {
	r := &reloader{opt: opt, log: log, hup: make(chan os.Signal, 1), secret: newSecretWatch(cfg.SecretsKey)}
	if opt.Reload == nil {
		return r
	}
	signal.Notify(r.hup, syscall.SIGHUP)
	var err error
	if r.watcher, err = fsnotify.NewWatcher(); err != nil {
		log.Warn("configuration is not watched, but looked at", slog.Duration("every", look), slog.Any("err", err))
	}
	r.watch()
	return r
}

// watch watches directories, since editors replace files; one that is missing has nothing
// to watch.
func (r *reloader) watch() {
	if r.watcher == nil {
		return
	}
	for _, file := range r.opt.Watch {
		_ = r.watcher.Add(filepath.Dir(file))
		_ = r.watcher.Add(filepath.Join(filepath.Dir(file), dropIns))
	}
}

// unwatched returns the states of the files whose changes the watcher does not see.
func (r *reloader) unwatched(cfg Config) map[string]keyfile.State {
	var names []string
	for _, file := range r.opt.Watch {
		more, _ := dropInsOf(file) // a fault is told when they are read
		for _, name := range append(more, file, filepath.Join(filepath.Dir(file), dropIns)) {
			if _, err := os.Lstat(name); r.watcher == nil || err == nil && keyfile.Linked(name) {
				names = append(names, name)
			}
		}
	}
	for _, name := range []string{cfg.DatabaseURLFile, cfg.SecretsKey} {
		if name != "" {
			names = append(names, name)
		}
	}
	return keyfile.StatesOf(names...)
}

// Run reloads until ctx ends.
func (r *reloader) Run(ctx context.Context, cfg Config, l *life) error {
	if r.opt.Reload == nil {
		<-ctx.Done()
		return nil
	}
	defer signal.Stop(r.hup)
	var events chan fsnotify.Event // nil: none
	var faults chan error
	if r.watcher != nil {
		defer func() { _ = r.watcher.Close() }() // only watched
		events, faults = r.watcher.Events, r.watcher.Errors
	}
	url := keyfile.StateOf(cfg.DatabaseURLFile)
	tick := time.NewTicker(look)
	defer tick.Stop()
	timer := time.NewTimer(0) // what changed since the start read it
	defer timer.Stop()
	var seen map[string]keyfile.State
	var read time.Time // zero: only by the start
	for {
		select {
		case <-r.hup:
			timer.Reset(look - time.Since(read)) // at once, unless it is a storm of signals
		case ev := <-events:
			if strings.HasSuffix(ev.Name, ".toml") || slices.Contains(r.opt.Watch, ev.Name) || filepath.Base(ev.Name) == dropIns {
				timer.Reset(settle)
			}
		case err := <-faults:
			r.log.Warn("configuration is not watched as it should be", slog.Any("err", err))
			timer.Reset(settle)
		case <-tick.C:
			if now := keyfile.StatesOf(slices.Collect(maps.Keys(seen))...); !maps.Equal(now, seen) {
				seen = now
				timer.Reset(settle)
			}
		case <-timer.C:
			r.watch() // the drop-ins' directory may be new
			if seen = r.unwatched(cfg); len(seen) > 0 {
				tick.Reset(look)
			} else {
				tick.Stop()
			}
			if !read.IsZero() {
				notify(saysReloading())
			}
			cfg = refresh(cfg, r.opt, l, r.log)
			if now := keyfile.StateOf(cfg.DatabaseURLFile); now != url {
				url = now
				l.apply(cfg) // a connection that waits for its turn begins with it
			}
			r.secret.look(r.log)
			if !read.IsZero() {
				notify(saysReady)
			}
			read = time.Now()
		case <-ctx.Done():
			return nil
		}
	}
}

// refresh reads the configuration again and returns the one that is in force
// afterwards.
func refresh(cfg Config, opt Options, l *life, log *slog.Logger) Config {
	fresh, err := opt.Reload()
	if err != nil {
		log.Error("configuration was not reloaded", slog.Any("err", err))
		l.fault.Store(new(err.Error()))
		return cfg
	}
	l.fault.Store(nil)
	live, restart := Changed(cfg, fresh)
	if len(live) == 0 && len(restart) == 0 {
		return cfg
	}
	log.Info("configuration reloaded", slog.Any("applied", live), slog.Any("needs_restart", restart))
	l.apply(fresh) // after the message, which a higher level would hide
	return fresh
}

// secretWatch tells that the key of secrets has changed: the node goes on with the one that it
// has read at its start.
type secretWatch struct {
	file  string // empty: the node's own key
	state keyfile.State
	sum   [sha256.Size]byte // of the last key that could be read
}

func newSecretWatch(file string) *secretWatch {
	w := &secretWatch{file: file, state: keyfile.StateOf(file)}
	if b, err := keyfile.Read(file, maxKey); err == nil {
		w.sum = sha256.Sum256(b)
	}
	return w
}

func (w *secretWatch) look(log *slog.Logger) {
	if w.file == "" {
		return
	}
	now := keyfile.StateOf(w.file)
	if now == w.state {
		return
	}
	w.state = now
	b, err := keyfile.Read(w.file, maxKey)
	if err != nil {
		return // a key that is away is not needed before the next start, which says so
	}
	if sum := sha256.Sum256(b); sum != w.sum {
		w.sum = sum
		log.Warn("the file of secrets.key_file has another key: the node uses it after a restart, and cannot read the secrets of apps that were set before until they are set again",
			slog.String("file", w.file))
	}
}
