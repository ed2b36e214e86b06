package provision_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/provision"
	"github.com/picloud/picloud/store"
)

// open starts a store.
func open(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(store.Config{Dir: t.TempDir(), ReserveBytes: -1, SegmentSize: 512 << 10})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, st.Close()); err != nil {
			t.Error(err)
		}
	})
	return st
}

// folder writes files, by their names, into a folder of an app.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// plan says what it takes, one step a line.
func plan(t *testing.T, st *store.Store, dir string, apply bool) []string {
	t.Helper()
	s, err := provision.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := provision.Plan(t.Context(), st, provision.Checks{}, s)
	if err == nil && apply {
		steps, err = provision.Apply(t.Context(), steps)
	}
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range steps {
		out = append(out, strings.TrimSpace(fmt.Sprintln(s.Action, s.Kind, s.Name, s.Detail)))
	}
	return out
}

// What the table of a topic does not mention stays as it is: applying a folder again must
// not cut the streams of a topic that was opened by hand. What it mentions is set, false
// and nothing included.
func TestUnmentionedSettingsStay(t *testing.T) {
	t.Parallel()
	st := open(t)
	origins := []string{"https://x.example"}
	if _, err := st.CreateApp(t.Context(), picloud.App{Name: "shop", AllowedOrigins: origins}); err != nil {
		t.Fatal(err)
	}
	want := picloud.Topic{
		App: "shop", Name: "till", Description: "d", External: true, AuthMode: picloud.AuthPublic, Durability: picloud.DurabilityTelemetry,
		Retention: picloud.Retention{MaxEvents: 7, MaxBytes: 8},
	}
	if _, err := st.CreateTopic(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	apply := func(toml string) picloud.Topic {
		t.Helper()
		plan(t, st, folder(t, map[string]string{"app.toml": toml}), true)
		got, err := st.Topic("shop", "till")
		if err != nil {
			t.Fatal(err)
		}
		got.CreatedAt, got.UpdatedAt = time.Time{}, time.Time{}
		return got
	}
	if diff := cmp.Diff(want, apply("[topics.till]\n")); diff != "" {
		t.Errorf("an empty table changes it: %s", diff)
	}
	if app, err := st.App("shop"); err != nil || !slices.Equal(app.AllowedOrigins, origins) {
		t.Errorf("the origins are %v, %v", app.AllowedOrigins, err)
	}
	want.AuthMode = picloud.AuthToken
	if diff := cmp.Diff(want, apply("[topics.till]\nauth_mode = \"token\"\n")); diff != "" {
		t.Errorf("one setting: %s", diff)
	}
	want.External, want.Description, want.Retention = false, "", picloud.Retention{MaxEvents: 9}
	if diff := cmp.Diff(want, apply("allowed_origins = []\n[topics.till]\nexternal = false\ndescription = \"\"\nretention.max_events = 9\n")); diff != "" {
		t.Errorf("said to be nothing: %s", diff)
	}
	if app, err := st.App("shop"); err != nil || len(app.AllowedOrigins) != 0 {
		t.Errorf("the origins are %v, %v", app.AllowedOrigins, err)
	}
}

const whole = `
description = "d"
[topics.till]
external = true
[collections.orders]
indexes = ["who", "n"]
[triggers.t]
kind = "pubsub"
topic = "till"
script = "a"
retry = { attempts = 3 }
[endpoints.e]
path = "/x/{id}"
script = "b"
auth = "public"
`

// OP-2: an app is what its folder says; applying it again does nothing, and what is
// changed by hand or in the folder is put right, and only that.
func TestApplyIsIdempotent(t *testing.T) {
	t.Parallel()
	st := open(t)
	files := map[string]string{"app.toml": whole, "a.js": "// a", "scripts/b.mjs": "// b", "README.md": "x"}
	dir := folder(t, files)
	want := []string{"create app shop", "create topic till", "create collection orders", "create script a", "create script b", "create trigger t", "create endpoint e"}
	for _, apply := range []bool{false, true} { // saying what would be done does nothing
		if got := plan(t, st, dir, apply); !slices.Equal(got, want) {
			t.Fatalf("apply %v: %q", apply, got)
		}
	}
	if got := plan(t, st, dir, false); len(got) != 0 {
		t.Errorf("again: %q", got)
	}
	if _, err := st.SetExternal(t.Context(), "shop", "till", false); err != nil {
		t.Fatal(err)
	}
	files["app.toml"] = strings.ReplaceAll(strings.ReplaceAll(whole, "attempts = 3", "attempts = 4"), `"d"`, `"other"`)
	files["a.js"] = "// a\n// more\n"
	dir = folder(t, files)
	got := plan(t, st, dir, true)
	if len(got) != 4 || got[0] != `change app shop description: "d" → "other"` || got[1] != "change topic till external: false → true" ||
		got[2] != "change script a 2 lines added, 1 removed" || !strings.HasPrefix(got[3], "change trigger t retry: ") {
		t.Errorf("changes: %q", got)
	}
	if got := plan(t, st, dir, true); len(got) != 0 {
		t.Errorf("again: %q", got)
	}
}

// What a folder does not mention stays, unless it wants the rest to go; data never
// does.
func TestPrune(t *testing.T) {
	t.Parallel()
	st := open(t)
	plan(t, st, folder(t, map[string]string{"app.toml": whole, "a.js": "// a", "b.js": "// b"}), true)
	if got := plan(t, st, folder(t, map[string]string{"app.toml": `description = "d"`}), true); len(got) != 0 {
		t.Errorf("without prune: %q", got)
	}
	got := plan(t, st, folder(t, map[string]string{"app.toml": "description = \"d\"\nprune = true"}), true)
	if want := []string{"delete endpoint e", "delete trigger t with what it still owes", "delete script a", "delete script b"}; !slices.Equal(got, want) {
		t.Errorf("with prune: %q", got)
	}
	if topics, err := st.Topics("shop"); err != nil || len(topics) != 1 {
		t.Errorf("topics %v, %v", topics, err)
	}
}

// Faults are told before anything changes, with the place where they are.
func TestFaultsAreToldAtTheDoor(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"nme = 1": "app.toml:1: the key nme is not known",
		"[triggers.t]\nkind = \"kv\"\nscrpt = \"a\"": "app.toml:3: the key triggers.t.scrpt is not known",
		"name = ":          "app.toml:1",
		"name = 7":         "app.toml:1",
		"name = \"UPPER\"": "name does not begin with a letter",
		"[triggers.t]\nkind = \"kv\"\nscript = \"none\"":                                           "neither in the directory",
		"[triggers.t]\nkind = \"smoke\"\nscript = \"a\"":                                           "trigger t",
		"[triggers.t]\nkind = \"kv\"\nscript = \"a\"\n[endpoints.e]\npath = \"x\"\nscript = \"a\"": "endpoint e",
		"[topics.\"a b\"]":                  "topic a b",
		"[collections.c]\nindexes = [\"\"]": "collection c",
	} {
		st := open(t)
		s, err := provision.Read(folder(t, map[string]string{"app.toml": text, "a.js": "// a"}))
		if err == nil {
			_, err = provision.Plan(t.Context(), st, provision.Checks{}, s)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want a word about %q", text, err, want)
		}
		if len(st.Apps()) != 1 {
			t.Errorf("%q left an app behind", text)
		}
	}
	_, err := provision.Read(folder(t, map[string]string{"app.toml": "", "a.js": "// a", "scripts/a.js": "// b"}))
	if err == nil || !strings.Contains(err.Error(), `both the script "a"`) {
		t.Errorf("two scripts of one name: %v", err)
	}
	_, err = provision.Plan(t.Context(), open(t), provision.Checks{
		Script: func(context.Context, string, string, string) error { return errors.New("cannot be read") },
	}, api.Spec{Name: "x", Scripts: map[string]string{"a": "// a"}})
	if err == nil || !strings.Contains(err.Error(), "script a: cannot be read") {
		t.Errorf("a script that cannot be read: %v", err)
	}
	var e *picloud.Error
	if _, err = provision.Plan(t.Context(), open(t), provision.Checks{}, api.Spec{Name: ""}); !errors.As(err, &e) {
		t.Errorf("no name: %v", err)
	}
}

// SR-6: a link out of the directory of an app is a fault, whatever it leads to and
// whatever it stands for; one within it is followed.
func TestLinksOutOfTheDirectoryAreRefused(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	for name, text := range map[string]string{"secret.js": "// secret", "app.toml": "description = \"secret\""} {
		if err := os.WriteFile(filepath.Join(outside, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		"a.js": filepath.Join(outside, "secret.js"), "scripts": outside, "app.toml": filepath.Join(outside, "app.toml"), "b.js": "/dev/tty", "c.js": "/nonexistent",
	} {
		dir := folder(t, map[string]string{"real.js": "//"})
		if link != "app.toml" {
			dir = folder(t, map[string]string{"app.toml": ""})
		}
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
		if s, err := provision.Read(dir); err == nil || strings.Contains(fmt.Sprint(s, err), "// secret") {
			t.Errorf("%s to %s: %+v, %v", link, to, s, err)
		}
	}
	dir := folder(t, map[string]string{"app.toml": "", "scripts/a.js": "// a"})
	if err := os.Symlink("scripts/a.js", filepath.Join(dir, "b.js")); err != nil {
		t.Fatal(err)
	}
	if s, err := provision.Read(dir); err != nil || s.Scripts["b"] != "// a" {
		t.Errorf("a link within: %+v, %v", s, err)
	}
}

// What is no ordinary file holds nothing up and eats no memory; a trigger that was
// disabled stays so; an index that is named twice is one.
func TestOddFolders(t *testing.T) {
	t.Parallel()
	odd := folder(t, map[string]string{"app.toml": ""})
	for name, make1 := range map[string]func(path string) error{
		"pipe.js": func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"zero.js": func(path string) error { return os.Symlink("/dev/zero", path) },
		"huge.js": func(path string) error { return os.WriteFile(path, make([]byte, picloud.MaxScript+1), 0o600) },
		"bad.js":  func(path string) error { return os.WriteFile(path, []byte{0xff}, 0o600) },
	} {
		path := filepath.Join(odd, name)
		if err := make1(path); err != nil {
			t.Fatal(err)
		}
		if _, err := provision.Read(odd); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	st := open(t)
	dir := folder(t, map[string]string{"a.js": "export default () => 1", "app.toml": "[triggers.t]\nkind = \"kv\"\nscript = \"a\"\n[collections.c]\nindexes = [\"b\", \"a\", \"a\"]\n"})
	plan(t, st, dir, true)
	tr, err := st.Trigger("shop", "t")
	if err != nil {
		t.Fatal(err)
	}
	tr.Enabled = false
	if _, err := st.SaveTrigger(t.Context(), tr); err != nil {
		t.Fatal(err)
	}
	if steps := plan(t, st, dir, false); len(steps) > 0 {
		t.Errorf("still to do: %v", steps)
	}
}
