package spool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/publish"
	"github.com/picloud/picloud/spool"
	"github.com/picloud/picloud/store"
)

// fixture is a running spool over a real store with the apps default and shop.
type fixture struct {
	t     *testing.T
	dir   string
	store *store.Store
	cfg   spool.Config
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	s, err := store.Open(store.Config{Dir: t.TempDir(), NodeName: "test"})
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.Run, func() error { return s.Close() })
	if _, err := s.CreateApp(t.Context(), picloud.App{Name: "shop"}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "spool")
	return &fixture{t: t, dir: dir, store: s, cfg: spool.Config{
		Dir: dir, Publisher: publish.New(publish.Config{Committer: s, MaxData: 1000}), Settle: 30 * time.Millisecond,
	}}
}

// run runs loop until the test ends and checks that it ends well.
func run(t *testing.T, loop func(context.Context) error, after func() error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- loop(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, after()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (f *fixture) start() (stop func()) {
	f.t.Helper()
	return run(f.t, spool.New(f.cfg).Run, func() error { return nil })
}

// write writes a file in place.
func (f *fixture) write(path, content string) {
	f.t.Helper()
	full := filepath.Join(f.dir, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o750), os.WriteFile(full, []byte(content), 0o600)); err != nil {
		f.t.Fatal(err)
	}
}

// drop writes a file elsewhere and moves it in.
func (f *fixture) drop(path, content string) {
	f.t.Helper()
	f.write(path+".tmp", content)
	full := filepath.Join(f.dir, path)
	if err := os.Rename(full+".tmp", full); err != nil {
		f.t.Fatal(err)
	}
}

// appears waits until there is a file at path and returns its content.
func (f *fixture) appears(path string) string {
	f.t.Helper()
	full := filepath.Join(f.dir, path)
	f.until(path+" to appear", func() bool { _, err := os.Lstat(full); return err == nil })
	b, err := os.ReadFile(full)
	if err != nil && !errors.Is(err, os.ErrPermission) {
		f.t.Fatal(err)
	}
	return string(b)
}

func (f *fixture) until(what string, ok func() bool) {
	f.t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-poll.C:
		case <-deadline:
			f.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// rejected waits until the file at path is rejected and returns the reason.
func (f *fixture) rejected(path string) string {
	f.t.Helper()
	aside := filepath.Join(filepath.Dir(path), "rejected", filepath.Base(path))
	f.until(path+" to be rejected", func() bool { _, err := os.Lstat(filepath.Join(f.dir, aside)); return err == nil })
	return f.appears(aside + ".reason")
}

func (f *fixture) exists(path string) bool {
	_, err := os.Lstat(filepath.Join(f.dir, path))
	return err == nil
}

// data returns what is stored under a topic of shop.
func (f *fixture) data(topic string) []string {
	f.t.Helper()
	var data []string
	for after := uint64(0); ; {
		page, err := f.store.Events(f.t.Context(), picloud.HistoryQuery{App: "shop", Topics: []string{topic}, After: after})
		if err != nil {
			f.t.Fatal(err)
		}
		for _, e := range page.Events {
			if e.Source != "spool" {
				f.t.Errorf("the source is %q", e.Source)
			}
			data = append(data, string(e.Data))
		}
		if after = page.Next; !page.More {
			return data
		}
	}
}

func (f *fixture) wantData(topic string, want ...string) {
	f.t.Helper()
	if got := f.data(topic); !slices.Equal(got, want) {
		f.t.Errorf("%s holds %q, want %q", topic, got, want)
	}
}

// PB-8: a JSON file is one event, wherever the folder came from and however the
// file got there.
func TestFilesArePublishedAndArchived(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("shop/early/1.json", `"before the start"`)
	f.start()
	f.appears("shop/early/archive/1.json")
	f.wantData("early", `"before the start"`)

	f.drop("shop/late/a.json", ` {"a" : 1} `) // a folder that is made now
	f.appears("shop/late/archive/a.json")
	f.wantData("late", `{"a":1}`)

	f.write("shop/stock/room/2/b.JSON", `[2]`) // nested, written in place
	f.appears("shop/stock/room/2/archive/b.JSON")
	f.wantData("stock/room/2", `[2]`)

	f.drop("shop/late/c.json", `3`) // a folder that is watched by now
	f.appears("shop/late/archive/c.json")
	f.wantData("late", `{"a":1}`, `3`)
	if f.exists("shop/late/c.json") || f.exists("shop/late/rejected") {
		t.Error("a published file is elsewhere too")
	}
}

func TestLinesArePublishedInOrder(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var want []string
	var b strings.Builder
	for i := range 2500 {
		want = append(want, fmt.Sprintf(`{"i":%d}`, i))
		fmt.Fprintf(&b, "{\"i\": %d}\r\n", i)
		if i%100 == 0 {
			b.WriteString("\n  \n")
		}
	}
	f.start()
	f.drop("shop/t/many.ndjson", strings.TrimSpace(b.String()))
	f.appears("shop/t/archive/many.ndjson")
	f.wantData("t", want...)
}

// Files of one folder are taken in the order of their names.
func TestFilesAreTakenByName(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var want []string
	past := time.Now().Add(-time.Hour)
	for i := 19; i >= 0; i-- {
		name := fmt.Sprintf("shop/t/%02d.json", i)
		f.drop(name, fmt.Sprint(i))
		// All of them are seen to be complete at once, however coarse the times are that
		// the kernel gives to writing and renaming.
		if err := os.Chtimes(filepath.Join(f.dir, name), past, past); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint(19-i))
	}
	f.start()
	f.appears("shop/t/archive/19.json")
	f.wantData("t", want...)
}

// A bad file is set aside whole, with a reason that says what, where and what
// to do; nothing of it is published.
func TestBadFilesAreRejectedWithAReason(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	outside := filepath.Join(t.TempDir(), "secret.json")
	if err := os.WriteFile(outside, []byte(`"secret"`), 0o600); err != nil {
		t.Fatal(err)
	}
	good := strings.Repeat("1\n", 1500)
	long := "shop/" + strings.Repeat("x", 129) + "/x.json"
	for path, content := range map[string]string{
		"shop/t/bad.json":      `{"a":`,
		"shop/t/two.json":      "1 2",
		"shop/t/big.json":      `"` + strings.Repeat("x", 1000) + `"`,
		"shop/t/lines.ndjson":  good + "{oops}\n2\n",
		"shop/t/bom.json":      "\xef\xbb\xbf1",
		"shop/t/bigline.jsonl": "1\n\"" + strings.Repeat("x", 1000) + "\"\n",
		"shop/t/plain.txt":     "1",
		"shop/t/huge.json":     strings.Repeat(" ", 1<<20) + "1",
		"shop/a b/x.json":      "1",
		"shop/$board/x.json":   "1",
		long:                   "1",
		"shop/x.json":          "1",
		"nope/t/x.json":        "1",
		"Shop/t/x.json":        "1",
		"archive/t/x.js":       "1",
	} {
		f.write(path, content)
	}
	for path, create := range map[string]func(string) error{
		"shop/t/link.json":  func(p string) error { return os.Symlink(outside, p) },
		"shop/t/loop.json":  func(p string) error { return os.Symlink(p, p) },
		"shop/t/pipe.json":  func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"shop/linked":       func(p string) error { return os.Symlink(filepath.Dir(outside), p) },
		"shop/t/ghost.json": func(p string) error { return os.Symlink("/nonexistent", p) },
	} {
		if err := create(filepath.Join(f.dir, path)); err != nil {
			t.Fatal(err)
		}
	}
	f.cfg.MaxFile = 1 << 20
	f.start()
	for path, says := range map[string]string{
		"shop/t/bad.json":      "unexpected end of JSON input",
		"shop/t/two.json":      "byte 3",
		"shop/t/big.json":      "the limit is 1000",
		"shop/t/lines.ndjson":  "Line 1501: The body is not valid JSON: byte 2",
		"shop/t/bom.json":      "without one",
		"shop/t/bigline.jsonl": "Line 2: The event is too large",
		"shop/t/plain.txt":     "rename it",
		"shop/t/huge.json":     "split it",
		"shop/a b/x.json":      "byte 2 is not allowed",
		"shop/$board/x.json":   "belong to the system",
		long:                   "129 bytes",
		"shop/x.json":          "<app>/<topic>",
		"nope/t/x.json":        "no such app",
		"Shop/t/x.json":        "begin with a letter a-z",
		"archive/t/x.js":       "rename it",
		"shop/t/link.json":     "not a regular file",
		"shop/t/loop.json":     "not a regular file",
		"shop/t/pipe.json":     "not a regular file",
		"shop/linked":          "not a regular file",
		"shop/t/ghost.json":    "not a regular file",
	} {
		if reason := f.rejected(path); !strings.Contains(reason, says) || !strings.Contains(reason, "move the file back") {
			t.Errorf("%s: the reason is %q, want %q in it", path, reason, says)
		}
	}
	if head, err := f.store.Head("shop"); err != nil || head.Seq != 0 {
		t.Errorf("something was published: %v, %v", head, err)
	}
	if b, err := os.ReadFile(outside); err != nil || string(b) != `"secret"` {
		t.Error("the target of a link was touched")
	}
}

// Unfinished and hidden files are nobody's business, and a file that is being
// written is taken once, whole.
func TestUnfinishedFilesAreLeftAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	names := []string{".hidden.json", "a.json.tmp", "a.json.part", "a.json~", "b.filepart", ".dir/x.json"}
	for _, n := range names {
		f.write("shop/t/"+n, "1")
	}
	f.cfg.Settle = 100 * time.Millisecond
	f.start()
	slow, err := os.Create(filepath.Join(f.dir, "shop/t/slow.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	var want []string
	tick := time.NewTicker(20 * time.Millisecond) // a slow writer, but not one that pauses for Settle
	defer tick.Stop()
	for i := range 20 {
		<-tick.C
		if _, err := fmt.Fprintln(slow, i); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint(i))
	}
	f.appears("shop/t/archive/slow.ndjson")
	f.wantData("t", want...)
	for _, n := range names {
		if !f.exists("shop/t/" + n) {
			t.Errorf("%s is gone", n)
		}
	}
}

// An empty file is not yet a fault: its writer may have something to say soon.
func TestEmptyFileIsGivenTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("shop/t/later.json", "")
	f.start()
	for i := range 3 { // each takes Settle, so that it has passed for the empty file too
		path := fmt.Sprintf("shop/other/%d.json", i)
		f.write(path, "1")
		f.until(path+" to be taken", func() bool { return !f.exists(path) })
	}
	if !f.exists("shop/t/later.json") {
		t.Fatal("the empty file was not given time")
	}
	f.write("shop/t/later.json", "2")
	f.appears("shop/t/archive/later.json")
	f.wantData("t", "2")

	f.write("shop/t/never.json", "")
	if reason := f.rejected("shop/t/never.json"); !strings.Contains(reason, "empty") {
		t.Errorf("the reason is %q", reason)
	}
}

// Nothing in archive or rejected is overwritten.
func TestNamesAreKeptApart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.cfg.Now = func() time.Time { return time.Now() }
	f.start()
	for i := range 4 {
		f.drop("shop/t/x.json", fmt.Sprint(i))
		f.until("x.json to be taken", func() bool { return !f.exists("shop/t/x.json") })
		f.drop("shop/t/y.json", "{")
		f.until("y.json to be taken", func() bool { return !f.exists("shop/t/y.json") })
	}
	f.wantData("t", "0", "1", "2", "3")
	for pattern, want := range map[string]int{"archive/x*.json": 4, "rejected/y*.json": 4, "rejected/y*.json.reason": 4} {
		if got, err := filepath.Glob(filepath.Join(f.dir, "shop/t", pattern)); err != nil || len(got) != want {
			t.Errorf("%s matches %v, want %d", pattern, got, want)
		}
	}
}

// gate refuses or breaks off until it is opened.
type gate struct {
	picloud.Publisher
	mu     sync.Mutex
	before func(p picloud.Publication) error // an error instead of publishing
	after  func(p picloud.Publication) error // an error after publishing
}

func (g *gate) Publish(ctx context.Context, p picloud.Publication) ([]picloud.Event, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.before != nil {
		if err := g.before(p); err != nil {
			return nil, err
		}
	}
	events, err := g.Publisher.Publish(ctx, p)
	if err == nil && g.after != nil {
		err = g.after(p)
	}
	return events, err
}

// A node that cannot take events now gets them later, in order; no file is to
// blame for it.
func TestTemporaryRefusalLeavesTheFile(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]error{
		"busy": picloud.ErrBusy.After(0), "stopping": picloud.ErrStopping.After(0), "no space": picloud.ErrNoSpace.After(0),
		"read-only": picloud.ErrReadOnly.After(0), "unknown": errors.New("something is wrong"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			refusals := 0
			g := &gate{Publisher: f.cfg.Publisher, before: func(picloud.Publication) error {
				if refusals++; refusals == 1 {
					return refusal
				}
				return nil
			}}
			f.cfg.Publisher = g
			f.drop("shop/t/1.json", "1")
			f.drop("shop/t/2.json", "2")
			f.start()
			f.appears("shop/t/archive/2.json")
			f.wantData("t", "1", "2")
			g.mu.Lock()
			defer g.mu.Unlock()
			if refusals != 3 {
				t.Errorf("asked %d times, want 3", refusals)
			}
			if f.exists("shop/t/rejected") {
				t.Error("a file was blamed")
			}
		})
	}
}

// SR-2: files of an app that is over a limit wait in their folder, in order, while those
// of others are taken.
func TestAppOverALimitHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	refused := 0
	var order []string
	g := &gate{
		Publisher: f.cfg.Publisher,
		before: func(p picloud.Publication) error {
			if p.Drafts[0].Topic == "new" && refused < 2 {
				refused++
				return picloud.ErrTopicsFull.After(0)
			}
			return nil
		},
		after: func(p picloud.Publication) error {
			order = append(order, p.Drafts[0].Topic+string(p.Drafts[0].Data))
			return nil
		},
	}
	f.cfg.Publisher = g
	f.drop("shop/new/1.json", "1")
	f.drop("shop/new/2.json", "2")
	f.drop("shop/t/3.json", "3")
	f.start()
	f.appears("shop/new/archive/2.json")
	g.mu.Lock()
	defer g.mu.Unlock()
	if got := strings.Join(order, " "); got != "t3 new1 new2" {
		t.Errorf("published %s", got)
	}
	if f.exists("shop/new/rejected") {
		t.Error("a file was blamed")
	}
}

// PB-8, PB-4: whatever the node dies between publishing and archiving, a new
// start doubles nothing and loses nothing.
func TestCrashBetweenPublishAndArchiveDoublesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var lines, want []string
	for i := range 2500 {
		lines = append(lines, fmt.Sprint(i))
	}
	want = lines
	f.drop("shop/t/x.ndjson", strings.Join(lines, "\n"))

	for crash := range 3 { // after the first, second and third part
		parts := 0
		crashed := make(chan struct{})
		f.cfg.Publisher = &gate{Publisher: f.cfg.Publisher, after: func(picloud.Publication) error {
			if parts++; parts == crash+1 {
				close(crashed)
				return picloud.ErrStopping // the answer is lost
			}
			return nil
		}}
		stop := f.start()
		<-crashed
		stop()
	}
	f.cfg.Publisher = publish.New(publish.Config{Committer: f.store})
	f.start()
	f.appears("shop/t/archive/x.ndjson")
	f.wantData("t", want...)
}

// The same content dropped again is published again.
func TestSameContentAgainIsPublishedAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.start()
	f.drop("shop/t/x.json", "1")
	f.appears("shop/t/archive/x.json")
	f.drop("shop/t/y.json", "1")
	f.appears("shop/t/archive/y.json")
	f.wantData("t", "1", "1")
}

// The rescan finds files without being told, and a folder that was removed
// comes back.
func TestRescanIsASafetyNet(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.cfg.Rescan = 20 * time.Millisecond
	f.start()
	f.until("the folder to be made", func() bool { return f.exists("") })
	if err := os.RemoveAll(f.dir); err != nil {
		t.Fatal(err)
	}
	f.until("the folder to be made again", func() bool { return f.exists("") })
	f.drop("shop/t/x.json", "1")
	f.appears("shop/t/archive/x.json")
	f.wantData("t", "1")
}

func TestArchiveIsBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range 10 {
		f.drop(fmt.Sprintf("shop/t/archive/%d.json", i), "1")
	}
	f.cfg.ArchiveFiles = 3
	f.start()
	f.until("the archive to shrink", func() bool {
		left, err := filepath.Glob(filepath.Join(f.dir, "shop/t/archive/*"))
		return err == nil && len(left) == 3
	})

	g := newFixture(t)
	g.drop("shop/t/archive/old.json", "1")
	g.drop("shop/t/rejected/younger.json", "1")
	g.drop("archive/t/app.json", "1") // an app called archive
	g.cfg.Now = func() time.Time { return time.Now().Add(8 * 24 * time.Hour) }
	g.start()
	g.until("the archive to be emptied", func() bool { return !g.exists("shop/t/archive/old.json") })
	if !g.exists("shop/t/rejected/younger.json") {
		t.Error("a rejected file went before its time")
	}
}

// Run ends promptly, again and again, and leaves nothing running.
func TestRunStops(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for range 20 {
		f.start()()
	}
	f.drop("shop/t/x.json", "1")
	f.start()
	f.appears("shop/t/archive/x.json")
	f.wantData("t", "1")
}

func FuzzPlaceOf(f *testing.F) {
	for _, seed := range []string{
		"shop/t/x.json", "shop/a/b/x.ndjson", "x.json", "shop/x.json", "shop//t/x.json", "shop/../t/x.json", "/shop/t/x.json",
		"shop/t/archive/x.json", "shop/$x/x.json", "shop/./x.json", "shop/t/.json", "archive/t/x.jsonl", "shop/t/x.JSON", "shop/\x00/x.json",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		p, err := spool.PlaceOf(path)
		if err != nil {
			if picloud.AsError(err) == nil {
				t.Fatalf("%q: refused without saying why: %v", path, err)
			}
			return
		}
		if err := errors.Join(check.AppName(p.App), check.TopicName(p.Topic)); err != nil {
			t.Fatalf("%q belongs to %+v: %v", path, p, err)
		}
		if p.Lines == strings.EqualFold(filepath.Ext(path), ".json") {
			t.Fatalf("%q: lines = %v", path, p.Lines)
		}
		// One folder for one topic: the way back leads to the same file.
		if back := filepath.Join(p.App, p.Topic, filepath.Base(path)); back != strings.Trim(path, "/") {
			t.Fatalf("%q belongs to %+v, which is %q", path, p, back)
		}
	})
}
