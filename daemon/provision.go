package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/provision"
	"github.com/picloud/picloud/script"
)

// provisioner makes apps what the directories below one say, at the start and when
// they change.
type provisioner struct {
	dir    string
	store  provision.Store
	checks provision.Checks
	log    *slog.Logger
	failed map[string]string // the fault of each directory, so that it is told once
}

func newProvisioner(dir string, st provision.Store, scripts *script.Runner, log *slog.Logger) *provisioner {
	return &provisioner{
		dir: filepath.Clean(dir), store: st, checks: provision.Checks{Schedule: dispatch.CheckSchedule, Script: scripts.Check},
		log: log.With(slog.String("component", "provision")), failed: map[string]string{},
	}
}

// Run watches until ctx ends. A directory that cannot be applied is told and left:
// the others are applied all the same.
func (p *provisioner) Run(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the apps: %w", err)
	}
	defer func() { _ = watcher.Close() }() // only watched
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			p.watch(watcher)
			p.apply(ctx)
		case ev := <-watcher.Events:
			if name := filepath.Clean(ev.Name); !strings.HasPrefix(filepath.Base(name), ".") && (name == p.dir || strings.HasPrefix(name, p.dir+"/")) {
				timer.Reset(settle)
			}
		case err := <-watcher.Errors:
			p.log.Warn("apps are not watched as they should be", slog.Any("err", err))
			timer.Reset(settle)
		case <-ctx.Done():
			return nil
		}
	}
}

// watch watches the directories there are. Those that are watched stay so.
func (p *provisioner) watch(watcher *fsnotify.Watcher) {
	_ = watcher.Add(filepath.Dir(p.dir)) // the directory itself may come later
	_ = watcher.Add(p.dir)
	for _, app := range p.apps() {
		_ = watcher.Add(app)
		_ = watcher.Add(filepath.Join(app, "scripts")) // one that is missing has nothing to watch
	}
}

// apps lists the directories that are apps, and those that may become ones.
func (p *provisioner) apps() []string {
	entries, err := os.ReadDir(p.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.log.Warn("apps cannot be read", slog.Any("err", err))
	}
	var dirs []string
	for _, e := range entries {
		if dir := filepath.Join(p.dir, e.Name()); !strings.HasPrefix(e.Name(), ".") {
			if info, err := os.Stat(dir); err == nil && info.IsDir() {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

// apply applies all of them. Of two that are the same app the first one is.
func (p *provisioner) apply(ctx context.Context) {
	from := map[string]string{} // directories by app
	for _, dir := range p.apps() {
		if _, err := os.Stat(filepath.Join(dir, provision.File)); err != nil {
			continue
		}
		done, err := p.applyOne(ctx, dir, from)
		if len(done) > 0 {
			p.log.Info("app was applied", slog.String("dir", dir), slog.Int("changes", len(done)))
		}
		for _, s := range done {
			p.log.Debug("app was changed", slog.String("dir", dir), slog.String("action", string(s.Action)), slog.String("kind", s.Kind), slog.String("name", s.Name))
		}
		switch {
		case err == nil:
			delete(p.failed, dir)
		case ctx.Err() == nil && p.failed[dir] != err.Error():
			p.failed[dir] = err.Error()
			p.log.Error("app could not be applied; 'picloud apply --dry-run' says the same", slog.String("dir", dir), slog.Any("err", err))
		}
	}
}

func (p *provisioner) applyOne(ctx context.Context, dir string, from map[string]string) ([]provision.Step, error) {
	spec, err := provision.Read(dir)
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file and the line
	}
	if other, twice := from[spec.Name]; twice {
		return nil, fmt.Errorf("it is the app %s, which %s is already: give one of them another name", spec.Name, other)
	}
	from[spec.Name] = dir
	steps, err := provision.Plan(ctx, p.store, p.checks, spec)
	if err != nil {
		return nil, err //nolint:wrapcheck // names the thing
	}
	return provision.Apply(ctx, steps) //nolint:wrapcheck // as above
}
