package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// fileLoad is one writer of files, and a record of what it was told. Each step
// writes a whole file or deletes one; what a file holds follows from its step.
type fileLoad struct {
	mu    sync.Mutex
	step  int
	acked map[string]int // path → newest step that was acknowledged
	begun map[string]int // path → newest step that was asked for
}

// loadedFiles is few: each is replaced often.
const loadedFiles = 12

func newFileLoad() *fileLoad { return &fileLoad{acked: map[string]int{}, begun: map[string]int{}} }

// deletes reports whether a step deletes.
func (*fileLoad) deletes(step int) bool { return step%9 == 8 }

// content is what a step writes: sometimes nothing, and up to 60 000 bytes.
func (*fileLoad) content(step int) string {
	return strings.Repeat(fmt.Sprintf("%9d\n", step), step*7919%6000*min(1, step%5))
}

// run writes until ctx ends.
func (f *fileLoad) run(ctx context.Context, l *load) {
	for ctx.Err() == nil {
		f.mu.Lock()
		f.step++
		step := f.step
		path := fmt.Sprintf("dir/file-%d", step%loadedFiles)
		f.begun[path] = step
		f.mu.Unlock()
		method, body := http.MethodPut, f.content(step)
		if f.deletes(step) {
			method, body = http.MethodDelete, ""
		}
		a, err := l.n.request(method, "/v1/apps/default/files/"+path, l.key, body, "Content-Type", fmt.Sprintf("x/step; n=%d", step))
		switch {
		case err != nil || a.status == http.StatusServiceUnavailable:
			pause(ctx, 5*time.Millisecond)
			continue
		case a.status == http.StatusNotFound && f.deletes(step):
		case a.status != http.StatusOK && a.status != http.StatusNoContent:
			l.faultf("%s %s: status %d: %s", method, path, a.status, a.body)
			continue
		}
		f.mu.Lock()
		f.acked[path] = step
		f.mu.Unlock()
		pause(ctx, 2*time.Millisecond) // others have more to write
	}
}

func (f *fileLoad) told() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.acked)
}

func (f *fileLoad) asked() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.begun)
}

// check holds the files of a node against what had been told before they are read,
// and what had been begun when they were: each is whole and none is older.
func (f *fileLoad) check(n *node, key string, told map[string]int, begun func() map[string]int) (faults []string) {
	found := map[string]int{}
	for i := range loadedFiles {
		path := fmt.Sprintf("dir/file-%d", i)
		a, err := n.request("GET", "/v1/apps/default/files/"+path, key, "")
		if err == nil && a.status == http.StatusNotFound {
			continue
		}
		text := strings.TrimPrefix(a.header.Get("Content-Type"), "x/step; n=")
		step, bad := strconv.Atoi(text)
		if err != nil || a.status != http.StatusOK || bad != nil {
			faults = append(faults, fmt.Sprintf("file %s cannot be read: %d %.200s (%v)", path, a.status, a.body, err))
			continue
		}
		if string(a.body) != f.content(step) {
			faults = append(faults, fmt.Sprintf("file %s of step %d has %d bytes of %d, or others", path, step, len(a.body), len(f.content(step))))
		}
		found[path] = step
	}
	asked := begun()
	for path, step := range found {
		if step > asked[path] || step%loadedFiles != asked[path]%loadedFiles || f.deletes(step) {
			faults = append(faults, fmt.Sprintf("file %s is of step %d, which was never asked for: the newest was %d", path, step, asked[path]))
		}
		if step < told[path] {
			faults = append(faults, fmt.Sprintf("file %s was acknowledged as of step %d and is of %d", path, told[path], step))
		}
	}
	for path, step := range told {
		gone := f.deletes(step)
		for later := step + loadedFiles; later <= asked[path]; later += loadedFiles {
			gone = gone || f.deletes(later)
		}
		if _, there := found[path]; !there && !gone {
			faults = append(faults, fmt.Sprintf("file %s was acknowledged as of step %d and is not there", path, step))
		}
	}
	return faults
}
