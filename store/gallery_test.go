package store_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// ledger is what a node has acknowledged, by what it is.
type ledger struct {
	cfg    store.Config
	epoch  picloud.Epoch
	events map[string]string // by app and position
	last   map[string]picloud.Position
	rest   map[string]string // everything else: by kind, app and name
}

var galleryApps = []string{"default", "shop"}

// newGallery makes a data directory with something of everything, and the ledger of it. A
// killed one is as a killed process leaves it.
func newGallery(t *testing.T, killed bool) *ledger {
	t.Helper()
	l := &ledger{
		cfg:    store.Config{Dir: t.TempDir(), SegmentSize: 64 << 10, CheckpointBytes: 60 << 10},
		events: map[string]string{}, last: map[string]picloud.Position{}, rest: map[string]string{},
	}
	s := start(t, l.cfg)
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.CreateApp(ctx, picloud.App{Name: "shop"})
	check(err)
	for _, app := range galleryApps {
		_, err := s.CreateTopic(ctx, picloud.Topic{App: app, Name: "t", External: true, Description: app})
		check(err)
		_, err = s.CreateAPIKey(ctx, picloud.APIKey{ID: "key-" + app, App: app, Label: app, Scopes: []picloud.Scope{picloud.ScopeAppRead}})
		check(err)
		_, err = s.SaveScript(ctx, picloud.Script{App: app, Name: "s", Source: "export default () => '" + app + "'"}, picloud.Precondition{})
		check(err)
		_, err = s.SaveTrigger(ctx, picloud.Trigger{App: app, Name: "tr", Kind: picloud.TriggerPubSub, Topic: "t", Script: "s", Enabled: true})
		check(err)
	}
	for i := range 60 {
		for _, app := range galleryApps {
			for _, e := range publish(t, s, app, "t", fmt.Sprintf(`"%s %d %s"`, app, i, strings.Repeat("x", 1500))) {
				l.events[app+" "+e.Position.String()], l.last[app] = string(e.Data), e.Position
			}
			_, err := s.SetEntry(ctx, picloud.EntryChange{App: app, Key: fmt.Sprint("k", i), Value: fmt.Appendf(nil, `"%s %d %s"`, app, i, strings.Repeat("y", 300))})
			check(err)
			_, err = s.PutDocument(ctx, picloud.DocumentChange{App: app, Collection: "c", ID: fmt.Sprint("d", i), Body: fmt.Appendf(nil, `{"app":%q,"n":%d}`, app, i)})
			check(err)
			if i%20 == 0 {
				_, err := s.PutFile(ctx, picloud.FileChange{App: app, Path: fmt.Sprint("f", i), Size: -1}, strings.NewReader(app+fmt.Sprint(i)+strings.Repeat("z", 9000)))
				check(err)
			}
		}
	}
	l.epoch = s.Node().Epoch
	l.rest = l.read(t, s)
	if killed {
		l.cfg.Dir = copyDir(t, l.cfg.Dir)
	} else {
		s.stop(t)
	}
	return l
}

// read returns what a node serves beside events. What cannot be read is not there.
func (l *ledger) read(t *testing.T, s *running) map[string]string {
	t.Helper()
	got := map[string]string{}
	put := func(name string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got[name] = string(b)
	}
	keys := s.APIKeys()
	for _, k := range keys {
		put("key "+k.ID, k.Label+k.App)
	}
	for _, app := range galleryApps {
		if tp, err := s.Topic(app, "t"); err == nil {
			put("topic "+app, tp.Description)
		}
		if sc, err := s.Script(app, "s"); err == nil {
			put("script "+app, sc.Source)
		}
		if tr, err := s.Trigger(app, "tr"); err == nil {
			put("trigger "+app, tr.Topic)
		}
		for i := range 60 {
			if e, err := s.Entry(app, fmt.Sprint("k", i)); err == nil {
				put(fmt.Sprint("entry ", app, i), string(e.Value))
			}
			if d, err := s.Document(app, "c", fmt.Sprint("d", i)); err == nil {
				put(fmt.Sprint("document ", app, i), string(d.Body))
			}
			if i%20 != 0 {
				continue
			}
			if _, c, err := s.OpenFile(app, fmt.Sprint("f", i)); err == nil {
				b, err := io.ReadAll(c)
				_ = c.Close()
				if err == nil {
					put(fmt.Sprint("file ", app, i), string(b))
				}
			}
		}
	}
	return got
}

// opened opens a store, which must not take long, whatever lies in its directory.
func opened(t *testing.T, cfg store.Config) (*store.Store, error) {
	t.Helper()
	type result struct {
		s   *store.Store
		err error
	}
	done := make(chan result, 1)
	go func() {
		s, err := store.Open(cfg)
		done <- result{s, err}
	}()
	select {
	case r := <-done:
		return r.s, r.err
	case <-time.After(time.Minute): // seconds, on a machine that does nothing else
		t.Fatal("it takes more than a minute to open")
		return nil, nil
	}
}

// verify starts a node on a directory that was damaged, and holds it against what was
// acknowledged: it serves nothing wrong, says so when something is missing, and gives no
// position a second time.
func (l *ledger) verify(t *testing.T, dir, what string) {
	t.Helper()
	cfg := l.cfg
	cfg.Dir, cfg.ReserveBytes = dir, -1
	for round := range 2 {
		before := listing(t, dir)
		probe, err := opened(t, cfg)
		if err != nil {
			refused := strings.Contains(err.Error(), "newer picloud") || strings.Contains(err.Error(), "nothing was changed; ")
			if after := listing(t, dir); !refused || after != before {
				t.Errorf("%s: start %d: %v; before:\n%safter:\n%s", what, round, err, before, after)
			}
			return
		}
		if err := probe.Close(); err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
	}
	s := start(t, cfg)
	defer s.stop(t)
	if _, err := s.Verify(t.Context(), func(store.Verification) error { return nil }); err != nil {
		t.Errorf("%s: verify: %v", what, err)
	}
	missing := l.missing(t, s, what)
	told := len(s.Incidents()) > 0 || s.Node().Epoch != l.epoch
	if len(missing) > 0 && !told {
		slices.Sort(missing)
		t.Errorf("%s: %d are missing, and that is not told: %.300s", what, len(missing), fmt.Sprint(missing))
	}
	for _, app := range galleryApps {
		if _, err := s.App(app); err != nil {
			continue
		}
		e := publish(t, s, app, "new", "1")[0]
		if _, given := l.events[app+" "+e.Position.String()]; given {
			t.Errorf("%s: position %s of %s is given a second time", what, e.Position, app)
		}
		if err := s.CheckPosition(app, []string{"t"}, l.last[app]); err == nil && s.Node().Epoch == l.epoch && e.Seq <= l.last[app].Seq {
			t.Errorf("%s: a cursor at %s of %s goes on in another history", what, l.last[app], app)
		}
	}
}

// listing describes what lies in a directory, but for the lock.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var text strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == "lock" || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%s %v", path, info.Mode())
		if d.Type().IsRegular() && info.Size() < 1<<30 {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&text, " %d %x", len(b), sha256.Sum256(b))
		}
		text.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// missing compares what is served with the ledger: what is there must be right.
func (l *ledger) missing(t *testing.T, s *running, what string) (missing []string) {
	t.Helper()
	compare := func(got, want map[string]string) {
		for name, v := range got {
			if w, ok := want[name]; !ok || v != w {
				t.Errorf("%s: %s is %.60q, it was %.60q", what, name, v, w)
			}
		}
		for name := range want {
			if _, ok := got[name]; !ok {
				missing = append(missing, name)
			}
		}
	}
	compare(l.read(t, s), l.rest)
	events := map[string]string{}
	for _, app := range galleryApps {
		page, err := s.Events(t.Context(), picloud.HistoryQuery{App: app, Topics: []string{"t"}, Limit: 1000})
		if err != nil && !errors.Is(err, picloud.ErrAppNotFound) {
			t.Errorf("%s: history: %v", what, err)
		}
		for i, e := range page.Events {
			if i > 0 && e.Seq <= page.Events[i-1].Seq {
				t.Errorf("%s: %d follows %d", what, e.Seq, page.Events[i-1].Seq)
			}
			position := picloud.Position{Epoch: l.epoch, Seq: e.Seq} // the node may tell of it in another epoch
			events[app+" "+position.String()] = string(e.Data)
		}
	}
	compare(events, l.events)
	return missing
}

// galleryFiles lists the files of a data directory.
func galleryFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "lock" {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// faults are what happens to the bytes of a file. Others are older bytes of the file.
var faults = map[string]func(rng *rand.Rand, b, older []byte) []byte{
	"a flipped bit": func(rng *rand.Rand, b, _ []byte) []byte {
		b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		return b
	},
	"a sector of zeros": func(rng *rand.Rand, b, _ []byte) []byte { clear(sectorOf(rng, b, 512)); return b },
	"a page of zeros":   func(rng *rand.Rand, b, _ []byte) []byte { clear(sectorOf(rng, b, 4096)); return b },
	"a page of noise": func(rng *rand.Rand, b, _ []byte) []byte {
		for i := range sectorOf(rng, b, 4096) {
			b[i] = byte(rng.Uint32())
		}
		return b
	},
	"swapped pages": func(rng *rand.Rand, b, _ []byte) []byte {
		x, y := sectorOf(rng, b, 4096), sectorOf(rng, b, 4096)
		n := min(len(x), len(y))
		kept := bytes.Clone(x[:n])
		copy(x[:n], y[:n])
		copy(y[:n], kept)
		return b
	},
	"a stale page": func(rng *rand.Rand, b, older []byte) []byte {
		at := rng.IntN(len(b)/4096+1) * 4096
		if at < len(older) && at < len(b) {
			copy(b[at:min(at+4096, len(b))], older[at:])
		}
		return b
	},
	"cut": func(rng *rand.Rand, b, _ []byte) []byte { return b[:rng.IntN(len(b))] },
}

func sectorOf(rng *rand.Rand, b []byte, size int) []byte {
	at := rng.IntN((len(b)+size-1)/size) * size
	return b[at:min(at+size, len(b))]
}

// spoilAny does one fault to one of the files, and says which.
func spoilAny(t *testing.T, rng *rand.Rand, dir string, files []string) string {
	t.Helper()
	file := files[rng.IntN(len(files))]
	if rng.IntN(3) == 0 {
		file = "state.db"
	}
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil || len(b) == 0 {
		return "nothing in " + file
	}
	older, err := os.ReadFile(filepath.Join(dir, files[rng.IntN(len(files))])) // the page was another file's
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(faults))
	fault := names[rng.IntN(len(names))]
	writeFile(t, filepath.Join(dir, file), faults[fault](rng, b, older))
	return fault + " in " + file
}

// galleryFaults is how many random faults there are: 200, or PICLOUD_GALLERY.
func galleryFaults(t *testing.T) int {
	t.Helper()
	text := os.Getenv("PICLOUD_GALLERY")
	if text == "" {
		return 200
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("PICLOUD_GALLERY: %v", err)
	}
	return n
}

// DM-1, DM-2, DM-3, DM-5, DM-6: random damage to any file of a data directory, one
// that was closed in good order and one that was not.
func TestGalleryOfDamage(t *testing.T) {
	t.Parallel()
	rounds := galleryFaults(t)
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed=%t", killed), func(t *testing.T) {
			t.Parallel()
			l := newGallery(t, killed)
			files := galleryFiles(t, l.cfg.Dir)
			for n := range rounds / 2 {
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					t.Parallel()
					rng := rand.New(rand.NewPCG(uint64(n), 16)) // #nosec G404 -- a test
					dir := filepath.Join(t.TempDir(), "d")
					if err := os.CopyFS(dir, os.DirFS(l.cfg.Dir)); err != nil {
						t.Fatal(err)
					}
					var done []string
					for range 1 + rng.IntN(4)/3*2 { // one, or in a quarter of the cases three
						done = append(done, spoilAny(t, rng, dir, files))
					}
					l.verify(t, dir, fmt.Sprintf("%s (killed %t, %d)", strings.Join(done, ", "), killed, n))
				})
			}
		})
	}
}

// DM-2, DM-6: every file of a data directory is missing, empty, short, long, a directory,
// a pipe, a link, or another file.
func TestGalleryOfOddFiles(t *testing.T) {
	t.Parallel()
	odd := map[string]func(t *testing.T, path string, b []byte) error{
		"missing":     func(*testing.T, string, []byte) error { return nil },
		"empty":       func(_ *testing.T, path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
		"short":       func(_ *testing.T, path string, b []byte) error { return os.WriteFile(path, b[:len(b)/2], 0o600) },
		"long":        func(_ *testing.T, path string, b []byte) error { return os.WriteFile(path, append(b, b...), 0o600) },
		"a directory": func(_ *testing.T, path string, _ []byte) error { return os.Mkdir(path, 0o700) },
		"a pipe":      func(_ *testing.T, path string, _ []byte) error { return syscall.Mkfifo(path, 0o600) },
		"a dead link": func(_ *testing.T, path string, _ []byte) error { return os.Symlink("/nowhere/at/all", path) },
		"a device":    func(_ *testing.T, path string, _ []byte) error { return os.Symlink("/dev/zero", path) },
		"foreign": func(_ *testing.T, path string, _ []byte) error {
			return os.WriteFile(path, []byte("# a note\n"), 0o600)
		},
		"very long": func(_ *testing.T, path string, b []byte) error {
			return errors.Join(os.WriteFile(path, b, 0o600), os.Truncate(path, 1<<40))
		},
	}
	l := newGallery(t, false)
	files := galleryFiles(t, l.cfg.Dir)
	for what, put := range odd {
		for _, file := range files {
			t.Run(what+" "+file, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "d")
				if err := os.CopyFS(dir, os.DirFS(l.cfg.Dir)); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, file)
				b, err := os.ReadFile(path)
				if err == nil {
					err = errors.Join(os.Remove(path), put(t, path, b))
				}
				if err != nil {
					t.Fatal(err)
				}
				l.verify(t, dir, file+" is "+what)
			})
		}
	}
}
