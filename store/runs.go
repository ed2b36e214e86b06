package store

import (
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud"
)

const tableRun table = 16 // app, zero byte, script name, zero byte, run id: how a run went

var runKind = rowKind{
	name: "runs", data: true,
	refers: func(_ *Store, ch change, _ int64) error { _, err := decodeAs[picloud.Run](ch.value); return err },
	holds:  func(u *usage, key, row []byte, sign int64) { u.runs.add(amountOf(key, row, 0), sign) },
}

// The records of runs are notes: they are shown at once, and reach the journal
// together every few seconds, only those that would be kept. A node that loses
// its power loses the notes of its last seconds.

const (
	keptRuns  = 50 // of each script
	runsEvery = 5 * time.Second
	runLines  = 16 << 10 // bytes of console lines that are kept of one run

	maxRunBytes   = 32 << 20 // of the runs of an app; old ones of a script make room for its new ones, of which one is always kept
	freshRunBytes = 4 << 20  // of the records that wait for the journal, of all apps; more lose lines and stack
)

// runs are the records that the journal does not have yet.
type runs struct {
	mu    sync.Mutex
	fresh map[string][]picloud.Run // by app, zero byte, script; oldest first
	bytes int                      // of them

	writing map[string][]picloud.Run // those that the committer is writing
	since   time.Time                // when the oldest of them came, by a time that does not jump
	last    int64                    // the newest id
	news    chan struct{}            // closed when there is a new one
}

// RecordRun keeps the record of a run and returns it with its id; that is empty when
// the app was deleted meanwhile. It never waits for the disk.
func (s *Store) RecordRun(r picloud.Run) picloud.Run {
	size := 0
	for i, l := range r.Lines {
		if size += len(l.Text) + 32; size > runLines {
			r.Lines, r.Truncated = r.Lines[:i], true
			break
		}
	}
	u := &s.runs
	u.mu.Lock()
	if r.Incarnation != 0 && r.Incarnation != s.Incarnation(r.App) { // under the lock: see dropApp
		u.mu.Unlock()
		return r
	}
	u.last = max(u.last+1, micros(s.cfg.Now()))
	r.ID = runID(u.last)
	key := pair(r.App, r.Script)
	if u.fresh == nil {
		u.fresh = map[string][]picloud.Run{}
	}
	first := len(u.fresh) == 0
	if first {
		u.since = time.Now()
	}
	list := u.fresh[key]
	for len(list) > 0 && (len(list) >= keptRuns || u.bytes+runSize(&r) > freshRunBytes) {
		u.bytes -= runSize(&list[0])
		list = slices.Delete(list, 0, 1)
	}
	if u.bytes+runSize(&r) > freshRunBytes {
		r.Lines, r.Stack, r.Truncated = nil, "", true
	}
	u.bytes += runSize(&r)
	u.fresh[key] = append(list, r)
	if u.news != nil {
		close(u.news)
		u.news = nil
	}
	u.mu.Unlock()
	if first {
		s.wake()
	}
	return r
}

// runSize is about what a record takes.
func runSize(r *picloud.Run) int {
	n := 256 + len(r.Error) + len(r.Stack)
	for i := range r.Lines {
		n += 64 + len(r.Lines[i].Text)
	}
	return n
}

// drop drops the records of a script. The caller holds mu.
func (u *runs) drop(key string) {
	for i := range u.fresh[key] {
		u.bytes -= runSize(&u.fresh[key][i])
	}
	delete(u.fresh, key)
}

// dropApp drops the records of an app that was deleted. Its catalog is visible
// already: later records are refused.
func (u *runs) dropApp(app string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for key := range u.fresh {
		if strings.HasPrefix(key, pair(app, "")) {
			u.drop(key)
		}
	}
}

// wake lets the committer look at what is due.
func (s *Store) wake() {
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

// A run is called by when it ended, in hexadecimal digits that sort.
func runID(at int64) string { return strconv.FormatUint(1<<52|uint64(at), 16) } // #nosec G115 -- positive

// Runs returns the newest runs of an app, newest first: of one script, or of all
// when its name is empty; those after an id, if one is given.
func (s *Store) Runs(app, script, after string, limit int) ([]picloud.Run, error) {
	if _, err := s.catalog.Load().app(app); err != nil {
		return nil, err
	}
	prefix := pair(app, script)
	if script != "" {
		prefix += "\x00"
	}
	byID := map[string]picloud.Run{}
	s.runs.mu.Lock() // before the tables: what leaves memory is there by then
	for key, list := range s.runs.waitingRuns() {
		for _, r := range list {
			if strings.HasPrefix(key+"\x00", prefix) && r.ID > after {
				byID[r.ID] = r
			}
		}
	}
	s.runs.mu.Unlock()
	var fault error
	s.tables.scan(tableRun, prefix, "", func(_ string, v []byte) bool {
		var r picloud.Run
		if fault = cborDecode(v, &r); r.ID > after {
			byID[r.ID] = r
		}
		return fault == nil
	})
	list := slices.SortedFunc(maps.Values(byID), func(a, b picloud.Run) int { return strings.Compare(b.ID, a.ID) })
	kept := map[string]int{}
	list = slices.DeleteFunc(list, func(r picloud.Run) bool {
		kept[r.Script]++
		return kept[r.Script] > keptRuns // its place is taken, though not in the journal yet
	})
	return list[:min(len(list), limit)], fault
}

// FindRun returns a run that is kept, or picloud.ErrRunNotFound.
func (s *Store) FindRun(app, id string) (r picloud.Run, err error) {
	if _, err := s.catalog.Load().app(app); err != nil {
		return r, err
	}
	s.runs.mu.Lock()
	for key, list := range s.runs.waitingRuns() {
		for _, one := range list {
			if one.ID == id && strings.HasPrefix(key, pair(app, "")) {
				r = one
			}
		}
	}
	s.runs.mu.Unlock()
	if r.ID != "" {
		return r, nil
	}
	err = picloud.ErrRunNotFound
	s.tables.scan(tableRun, pair(app, ""), "", func(k string, v []byte) bool {
		if !strings.HasSuffix(k, "\x00"+id) {
			return true
		}
		err = cborDecode(v, &r)
		return false
	})
	return r, err
}

// RunRecorded returns a channel that is closed when the next run is recorded.
func (s *Store) RunRecorded() <-chan struct{} {
	s.runs.mu.Lock()
	defer s.runs.mu.Unlock()
	if s.runs.news == nil {
		s.runs.news = make(chan struct{})
	}
	return s.runs.news
}

// untilRuns is how long the records of runs may still wait.
func (s *Store) untilRuns() time.Duration {
	s.runs.mu.Lock()
	defer s.runs.mu.Unlock()
	if len(s.runs.fresh) == 0 {
		return time.Hour
	}
	return max(0, runsEvery-time.Since(s.runs.since))
}

// writeRuns commits the records of runs when they have waited long enough.
func (s *Store) writeRuns() error {
	if s.untilRuns() > 0 {
		return nil
	}
	if s.readOnly || s.space.full.Load() || s.space.state.Load() {
		s.runs.wait()
		return nil
	}
	return s.writeSomeRuns()
}

// wait puts off what is due.
func (u *runs) wait() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.since = time.Now()
}

// writeSomeRuns commits as many records of runs as fit into a group.
func (s *Store) writeSomeRuns() error {
	g := s.commit.group
	s.beginGroup(g)
	limit := s.chunk()
	if err := s.stageChanges(g, func(tx *tx) error {
		for size := 0; size < limit; {
			key, list := s.runs.take()
			if list == nil {
				break
			}
			size += tx.putRuns(key, list)
		}
		return nil
	}); err != nil {
		return err
	}
	err := s.commitGroup(g)
	s.runs.written()
	return err
}

// waitingRuns goes through the records that the tables may not have yet, script by
// script. The caller holds mu.
func (u *runs) waitingRuns() iter.Seq2[string, []picloud.Run] {
	return func(yield func(string, []picloud.Run) bool) {
		for _, of := range []map[string][]picloud.Run{u.writing, u.fresh} {
			for key, list := range of {
				if !yield(key, list) {
					return
				}
			}
		}
	}
}

// written says that what was taken is in the tables.
func (u *runs) written() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.writing = nil
}

func (u *runs) waiting() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.fresh) > 0
}

// take takes out the records of one script.
func (u *runs) take() (key string, list []picloud.Run) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, list := range u.fresh {
		u.drop(key)
		if u.writing == nil {
			u.writing = map[string][]picloud.Run{}
		}
		u.writing[key] = list
		return key, list
	}
	return "", nil
}

// putRuns stages records of a script, removes those whose place they take, and
// returns about how many bytes that are.
func (t *tx) putRuns(key string, list []picloud.Run) (size int) {
	app, _, _ := strings.Cut(key, "\x00")
	if _, err := t.catalog.app(app); err != nil {
		return 0
	}
	old, _ := t.s.tables.keys(tableRun, key+"\x00", math.MaxInt)
	for len(old) > 0 && len(old)+len(list) > keptRuns {
		t.remove(tableRun, old[0])
		old = old[1:]
	}
	for i, r := range list {
		c := change{table: tableRun, key: []byte(key + "\x00" + r.ID), value: cborEncode(r)}
		for len(old) > 0 && t.usage(app).runs.bytes+int64(len(c.value)) > maxRunBytes {
			t.remove(tableRun, old[0])
			old = old[1:]
		}
		if i < len(list)-1 && t.usage(app).runs.bytes+int64(len(c.value)) > maxRunBytes {
			continue // a newer one follows
		}
		t.change(c)
		size += recordCost + len(c.value)
	}
	return size
}

// forgetRuns stages the end of the records of a script.
func (t *tx) forgetRuns(app, script string) {
	key := pair(app, script)
	t.s.runs.mu.Lock()
	t.s.runs.drop(key)
	t.s.runs.mu.Unlock()
	keys, _ := t.s.tables.keys(tableRun, key+"\x00", math.MaxInt)
	for _, k := range keys {
		t.remove(tableRun, k)
	}
}
