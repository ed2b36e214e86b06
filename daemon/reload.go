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

// reloads reads the configuration again on SIGHUP and when its files change. It
// is applied whole or not at all; what needs a restart is said.
func reloads(ctx context.Context, cfg Config, opt Options, l *life, log *slog.Logger) error {
	if opt.Reload == nil {
		<-ctx.Done()
		return nil
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	var events chan fsnotify.Event // nil: none
	var faults chan error
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("configuration is not watched: send SIGHUP after a change", slog.Any("err", err))
	} else {
		defer func() { _ = watcher.Close() }() // only watched
		events, faults = watcher.Events, watcher.Errors
	}
	watch := func() {
		if watcher == nil {
			return
		}
		for _, file := range opt.Watch {
			// Directories, since editors replace files; one that is missing has
			// nothing to watch.
			_ = watcher.Add(filepath.Dir(file))
			_ = watcher.Add(filepath.Join(filepath.Dir(file), dropIns))
		}
	}
	watch()
	cfg = refresh(cfg, opt, l, log) // what changed since the start read it
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for {
		select {
		case <-hup:
			timer.Reset(0)
		case ev := <-events:
			if strings.HasSuffix(ev.Name, ".toml") || slices.Contains(opt.Watch, ev.Name) || filepath.Base(ev.Name) == dropIns {
				timer.Reset(settle)
			}
		case err := <-faults:
			log.Warn("configuration is not watched as it should be", slog.Any("err", err))
		case <-timer.C:
			watch() // the drop-ins' directory may be new
			notify(saysReloading())
			cfg = refresh(cfg, opt, l, log)
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
