package store_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

func put(t *testing.T, s *running, path string, content []byte) picloud.File {
	t.Helper()
	f, err := s.PutFile(t.Context(), picloud.FileChange{App: "default", Path: path, Size: -1}, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func content(t *testing.T, s *running, path string) (picloud.File, []byte) {
	t.Helper()
	f, r, err := s.OpenFile("default", path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return f, b
}

// onDisk returns what lies in the directory of contents.
func onDisk(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "files"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// FI-1: what a random walk of writes leaves behind is what a map says, after orderly
// and sudden ends, and nothing else lies on the disk. Files may be empty, when they
// are made and when they are changed.
func TestFilesEqualAModel(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	cfg := store.Config{Dir: t.TempDir(), CheckpointBytes: 20_000, MaxFile: 100_000}
	s := start(t, cfg)
	model := map[string][]byte{}
	versions := map[string]uint64{}
	random := func() []byte {
		b := make([]byte, []int{0, 1, 100, 5_000, 100_000}[rnd.IntN(5)])
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	for step := range 600 {
		path := fmt.Sprintf("a/%d", rnd.IntN(12))
		old, there := model[path]
		switch rnd.IntN(8) {
		case 0, 1, 2:
			b := random()
			f := put(t, s, path, b)
			sum := sha256.Sum256(b)
			if f.Size != int64(len(b)) || f.SHA256 != hex.EncodeToString(sum[:]) || f.Version <= versions[path] || f.Type != "application/octet-stream" {
				t.Fatalf("step %d: %+v", step, f)
			}
			model[path], versions[path] = b, f.Version
		case 3:
			_, err := s.PutFile(t.Context(), picloud.FileChange{App: "default", Path: path, If: picloud.Precondition{Absent: true}}, bytes.NewReader(nil))
			if there != errors.Is(err, picloud.ErrPrecondition) {
				t.Fatalf("step %d: create %s: %v, there: %v", step, path, err, there)
			}
			if err == nil {
				f, _ := content(t, s, path)
				model[path], versions[path] = nil, f.Version
			}
		case 4:
			err := s.DeleteFile(t.Context(), picloud.Deletion{App: "default", Name: path})
			if there == errors.Is(err, picloud.ErrFileNotFound) {
				t.Fatalf("step %d: delete %s: %v, there: %v", step, path, err, there)
			}
			delete(model, path)
		case 5:
			bad := io.MultiReader(bytes.NewReader(random()), iotest.ErrReader(io.ErrUnexpectedEOF))
			if _, err := s.PutFile(t.Context(), picloud.FileChange{App: "default", Path: path}, bad); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("step %d: %v", step, err)
			}
		case 6:
			if !there {
				continue
			}
			if f, b := content(t, s, path); !bytes.Equal(b, old) || f.Version != versions[path] {
				t.Fatalf("step %d: %s has %d bytes, version %d", step, path, len(b), f.Version)
			}
		case 7:
			switch rnd.IntN(20) {
			case 0:
				s.stop(t)
				s = start(t, cfg)
			case 1:
				cfg.Dir = killed(t, s, cfg.Dir)
				s = start(t, cfg)
			}
		}
	}
	for path, want := range model {
		if _, b := content(t, s, path); !bytes.Equal(b, want) {
			t.Errorf("%s has %d bytes, want %d", path, len(b), len(want))
		}
	}
	page, next, err := s.Files("default", "a/", "", 5)
	for err == nil && next != "" {
		var more []picloud.File
		more, next, err = s.Files("default", "a/", next, 5)
		page = append(page, more...)
	}
	if err != nil || len(page) != len(model) || !slices.IsSortedFunc(page, func(a, b picloud.File) int { return strings.Compare(a.Path, b.Path) }) {
		t.Errorf("listed %v, %v", page, err)
	}
	if got := onDisk(t, cfg.Dir); len(got) != len(model) {
		t.Errorf("%d on the disk, %d files", len(got), len(model))
	}
}

// FI-1: a request that cannot be met is refused with a reason, and leaves nothing.
func TestFilesAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir, MaxFile: 1000})
	was := put(t, s, "a", []byte("1"))
	endless := io.LimitReader(endlessly{}, 1<<20)
	for name, c := range map[string]struct {
		change picloud.FileChange
		body   io.Reader
		want   error
	}{
		"too large, and said so":  {picloud.FileChange{Path: "a", Size: 1001}, strings.NewReader(""), picloud.ErrFileTooLarge},
		"too large, and not said": {picloud.FileChange{Path: "a", Size: -1}, endless, picloud.ErrFileTooLarge},
		"another sum":             {picloud.FileChange{Path: "a", SHA256: strings.Repeat("0", 64)}, strings.NewReader("x"), picloud.ErrFileDigest},
		"another version":         {picloud.FileChange{Path: "a", If: picloud.Precondition{Version: was.Version + 1}}, strings.NewReader("x"), picloud.ErrPrecondition},
		"no path":                 {picloud.FileChange{}, strings.NewReader(""), picloud.ErrFileInvalid},
		"a path upwards":          {picloud.FileChange{Path: "a/../b"}, strings.NewReader(""), picloud.ErrFileInvalid},
		"an absolute path":        {picloud.FileChange{Path: "/a"}, strings.NewReader(""), picloud.ErrFileInvalid},
		"no type":                 {picloud.FileChange{Path: "a", Type: "x/"}, strings.NewReader(""), picloud.ErrFileInvalid},
		"no app":                  {picloud.FileChange{App: "none", Path: "a"}, strings.NewReader(""), picloud.ErrAppNotFound},
	} {
		if c.change.App == "" {
			c.change.App = "default"
		}
		if _, err := s.PutFile(t.Context(), c.change, c.body); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if f, b := content(t, s, "a"); f != was || string(b) != "1" || len(onDisk(t, dir)) != 1 {
		t.Errorf("%+v %q %v", f, b, onDisk(t, dir))
	}
}

// FI-1, OP-7: no file is taken that would use up what is left to others, and none on a
// disk that cannot be written; what is there can be read.
func TestFilesNeedRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir})
	put(t, s, "a", []byte("1"))
	s.stop(t)
	s = start(t, store.Config{Dir: dir, ReserveBytes: 1 << 60})
	if _, err := s.PutFile(t.Context(), picloud.FileChange{App: "default", Path: "b", Size: 1}, strings.NewReader("x")); !errors.Is(err, picloud.ErrNoSpace) {
		t.Errorf("%v", err)
	}
	if _, b := content(t, s, "a"); string(b) != "1" || len(onDisk(t, dir)) != 1 {
		t.Errorf("%q, %v", b, onDisk(t, dir))
	}
	if err := s.DeleteFile(t.Context(), picloud.Deletion{App: "default", Name: "a"}); err != nil || len(onDisk(t, dir)) != 0 {
		t.Errorf("what makes room is refused: %v", err)
	}
}

type endlessly struct{}

func (endlessly) Read(p []byte) (int, error) { return len(p), nil }

// FI-1: who reads a file reads it as it was, whatever is written meanwhile.
func TestReadersSeeWholeFiles(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir()})
	put(t, s, "a", bytes.Repeat([]byte{0}, 200_000))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if f, b := content(t, s, "a"); int(f.Size) != len(b) || bytes.Count(b, b[:1]) != len(b) {
					t.Errorf("read %d bytes of %d, mixed", len(b), f.Size)
					return
				}
			}
		})
	}
	for i := range 200 {
		put(t, s, "a", bytes.Repeat([]byte{byte(i)}, 100_000+1000*i))
	}
	close(stop)
	wg.Wait()
	_, r, err := s.OpenFile("default", "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteFile(t.Context(), picloud.Deletion{App: "default", Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || len(b) != 299_000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	_ = r.Close()
}

// SW-1: contents that no file has are removed; those being written, those of files,
// and what is none of them stay. An app takes its files with it.
func TestGarbageIsCollected(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir})
	put(t, s, "a", []byte("1"))
	if _, err := s.CreateApp(t.Context(), picloud.App{Name: "shop"}); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if _, err := s.PutFile(t.Context(), picloud.FileChange{App: "shop", Path: fmt.Sprint(i)}, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DeleteApp(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	if got := onDisk(t, dir); len(got) != 1 {
		t.Errorf("an app left %v", got)
	}
	orphan, stray, young := strings.Repeat("a", 26), "README", strings.Repeat("b", 26)+".tmp.1"
	for _, name := range []string{orphan, stray, young} {
		if err := os.WriteFile(filepath.Join(dir, "files", name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, w := io.Pipe()
	written := make(chan error)
	go func() {
		_, err := s.PutFile(t.Context(), picloud.FileChange{App: "default", Path: "slow"}, r)
		written <- err
	}()
	_, _ = w.Write([]byte("half"))
	if n, err := s.CollectFiles(t.Context()); n != 1 || err != nil {
		t.Errorf("%d removed, %v", n, err)
	}
	_ = w.Close()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if n, err := s.CollectFiles(t.Context()); n != 0 || err != nil {
		t.Errorf("%d removed, %v", n, err)
	}
	if got := onDisk(t, dir); len(got) != 4 || slices.Contains(got, orphan) || !slices.Contains(got, stray) || !slices.Contains(got, young) {
		t.Errorf("%v", got)
	}
	if _, b := content(t, s, "slow"); string(b) != "half" {
		t.Errorf("%q", b)
	}
}

// OP-7: when rows were lost with state.db, contents stay for whoever can make
// something of them.
func TestLostRowsKeepContents(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir(), JournalBytes: 1 << 20, CheckpointBytes: 50_000, Retention: picloud.Retention{MaxEvents: 1}}
	s := start(t, cfg)
	put(t, s, "a", []byte("precious"))
	for s.Stats().FirstLSN < 10 {
		publish(t, s, "default", "t", `"`+strings.Repeat("x", 50_000)+`"`)
	}
	s.stop(t)
	if err := os.Remove(filepath.Join(cfg.Dir, "state.db")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and after the next start, too
		s = start(t, cfg)
		if _, err := s.File("default", "a"); !errors.Is(err, picloud.ErrFileNotFound) {
			t.Fatalf("the test lost nothing: %v", err)
		}
		if n, err := s.CollectFiles(t.Context()); n != 0 || err != nil || len(onDisk(t, cfg.Dir)) != 1 {
			t.Errorf("%d removed, %v", n, err)
		}
		s.stop(t)
	}
}

// OP-6: a backup has the files as they were when it began, whatever is written while
// it is made.
func TestBackupHasFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir})
	for i := range 20 {
		put(t, s, fmt.Sprint("f", i), bytes.Repeat([]byte{byte(i)}, 100_000))
	}
	var archive bytes.Buffer
	during := &hookWriter{w: &archive, after: 1000, fn: func() {
		for i := range 20 {
			put(t, s, fmt.Sprint("f", i), []byte("newer"))
		}
	}}
	if err := s.Backup(t.Context(), during); err != nil {
		t.Fatal(err)
	}
	if got := onDisk(t, dir); len(got) != 20 {
		t.Errorf("%d are left after the backup", len(got))
	}
	if _, err := store.VerifyBackup(bytes.NewReader(archive.Bytes())); err != nil {
		t.Error(err)
	}
	fresh := filepath.Join(t.TempDir(), "new")
	if _, err := store.Restore(store.Config{Dir: fresh}, store.Archived{From: bytes.NewReader(archive.Bytes())}); err != nil {
		t.Fatal(err)
	}
	b := start(t, store.Config{Dir: fresh})
	for i := range 20 {
		if _, got := content(t, b, fmt.Sprint("f", i)); !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, 100_000)) {
			t.Errorf("f%d has %d bytes", i, len(got))
		}
	}
}

// hookWriter calls fn once, when some bytes were written.
type hookWriter struct {
	w     io.Writer
	after int
	fn    func()
}

func (h *hookWriter) Write(p []byte) (int, error) {
	if h.after -= len(p); h.after < 0 && h.fn != nil {
		h.fn()
		h.fn = nil
	}
	return h.w.Write(p)
}

// TR-1, TR-2: files that are written and deleted are owed to triggers that match
// their path.
func TestFilesAreOwed(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir()})
	if _, err := s.SaveScript(t.Context(), picloud.Script{App: "default", Name: "s", Source: "//"}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	tr, err := s.SaveTrigger(t.Context(), picloud.Trigger{App: "default", Name: "t", Kind: picloud.TriggerFiles, Prefix: "in/", Script: "s", Enabled: true})
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "out/a", nil)
	f := put(t, s, "in/a", []byte("abc"))
	if err := s.DeleteFile(t.Context(), picloud.Deletion{App: "default", Name: "in/a"}); err != nil {
		t.Fatal(err)
	}
	owed, err := s.deliveries(tr, 0, 10)
	if err != nil || len(owed) != 2 {
		t.Fatalf("%+v, %v", owed, err)
	}
	if w := owed[0].What; w.Name != "in/a" || w.Version != f.Version || !strings.Contains(string(w.Data), f.SHA256) || w.At.Before(time.Now().Add(-time.Hour)) {
		t.Errorf("%+v %s", w, w.Data)
	}
	if w := owed[1].What; w.Name != "in/a" || !w.Deleted || w.Data != nil {
		t.Errorf("%+v", w)
	}
}
