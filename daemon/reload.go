package daemon

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long files must be still before they are read again: editors
// write in several steps.
const settle = 300 * time.Millisecond

// reloader reads the configuration again on SIGHUP and when its files change. It
// is applied whole or not at all; what needs a restart is said.
type reloader struct {
	opt     Options
	log     *slog.Logger
	hup     chan os.Signal
	watcher *fsnotify.Watcher // nil: SIGHUP alone tells of changes
}

// newReloader begins to listen for SIGHUP, which would end a process that does not, and
// to watch the files: a node that is ready can be told to reload. Run ends both.
func newReloader(opt Options, log *slog.Logger) *reloader {
	r := &reloader{opt: opt, log: log, hup: make(chan os.Signal, 1)}
	if opt.Reload == nil {
		return r
	}
	signal.Notify(r.hup, syscall.SIGHUP)
	var err error
	if r.watcher, err = fsnotify.NewWatcher(); err != nil {
		log.Warn("configuration is not watched: send SIGHUP after a change", slog.Any("err", err))
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
	cfg = refresh(cfg, r.opt, l, r.log) // what changed since the start read it
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for {
		select {
		case <-r.hup:
			timer.Reset(0)
		case ev := <-events:
			if strings.HasSuffix(ev.Name, ".toml") || slices.Contains(r.opt.Watch, ev.Name) || filepath.Base(ev.Name) == dropIns {
				timer.Reset(settle)
			}
		case err := <-faults:
			r.log.Warn("configuration is not watched as it should be", slog.Any("err", err))
		case <-timer.C:
			r.watch() // the drop-ins' directory may be new
			notify(saysReloading())
			cfg = refresh(cfg, r.opt, l, r.log)
			notify(saysReady)
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
