package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// backup is a finished backup and what had been told before it was begun.
type backup struct {
	file  string
	facts []fact
}

// backUp makes one backup after the other until ctx ends, while the node may be
// killed. The function it returns gives the last that was finished.
func (l *load) backUp(ctx context.Context) (last func() *backup) {
	done := make(chan *backup, 1)
	go func() {
		var last *backup
		for i := 0; ctx.Err() == nil; i++ {
			l.mu.Lock()
			facts := slices.Clip(l.facts)
			l.mu.Unlock()
			file := filepath.Join(l.n.home, fmt.Sprintf("backup-%d.tar.gz", i))
			if _, _, code := l.n.run("", "backup", file); code != 0 {
				if _, err := os.Stat(file); err == nil {
					l.faultf("a backup that failed has left %s", file)
				}
				pause(ctx, 20*time.Millisecond)
				continue
			}
			if last != nil {
				_ = os.Remove(last.file)
			}
			last = &backup{file, facts}
		}
		done <- last
	}()
	return func() *backup { return <-done }
}

// checkBackup restores a backup and looks for everything that had been told
// before it was begun.
func (l *load) checkBackup(b *backup) {
	l.t.Helper()
	if b == nil {
		l.t.Error("no backup was finished: this run proves nothing about them")
		return
	}
	m := newNode(l.t)
	if out, errs, code := m.run("", "restore", b.file); code != 0 {
		l.t.Errorf("restore: %d %s%s", code, out, errs)
		return
	}
	m.start()
	there := map[string]bool{}
	for _, e := range m.history(l.key, "default", crashTopics...) {
		there[fmt.Sprint(seqOf(l.t, e.ID), string(e.Data))] = true // a restore begins a new epoch
	}
	missing := 0
	for _, f := range b.facts {
		if !there[fmt.Sprint(seqOf(l.t, f.id), f.data)] {
			missing++
		}
	}
	if missing > 0 {
		l.t.Errorf("the backup lacks %d of %d events that were told before it was begun", missing, len(b.facts))
	}
	l.t.Logf("a backup with %d of the events that were told was restored", len(b.facts))
}
