package pgsync_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/pgsync"
	"github.com/picloud/picloud/pgsync/pgtest"
	"github.com/picloud/picloud/store"
)

// spoil flips a bit of each place where a file has a text, and returns how many there were.
func spoil(t *testing.T, path, text string) (places int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; ; places++ {
		i := bytes.Index(b[at:], []byte(text))
		if i < 0 {
			break
		}
		b[at+i+len(text)/2] ^= 1
		at += i + len(text)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return places
}

// checkpointed keeps writing until state.db has a text.
func (n *node) checkpointed(t *testing.T, dir, text string) {
	t.Helper()
	pad := `"` + strings.Repeat("x", 100_000) + `"`
	for i := range 2000 {
		b, err := os.ReadFile(filepath.Join(dir, "state.db"))
		if err == nil && bytes.Contains(b, []byte(text)) {
			return
		}
		n.publish(t, fmt.Sprint("pad", i%10), pad)
	}
	t.Fatal("it never came to state.db")
}

func (n *node) healed(t *testing.T) string {
	t.Helper()
	var texts []string
	for _, in := range n.Incidents() {
		texts = append(texts, in.Healed)
	}
	return strings.Join(texts, "\n")
}

// eventually waits for something that the copy brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("never: " + what)
		}
	}
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// loseRows damages the rows that have these texts, and drops what they could be made of.
func loseRows(t *testing.T, dir string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if spoil(t, filepath.Join(dir, "state.db"), text) == 0 {
			t.Fatalf("state.db does not have %s", text)
		}
	}
	segments := must(filepath.Glob(filepath.Join(dir, "journal", "*.log")))(t)
	slices.Sort(segments)
	for _, name := range segments[:len(segments)-1] {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// DM-9: rows that the card has lost come back from the copy, as they were; what was deleted
// or changed since stays so.
func TestLostRowsComeBack(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := start(t, dir, url)
	n.set(t, "lamp", `{"is":"needle-kv","z":1,"a":1e2}`, false)
	n.set(t, "raw", "needle-raw \x00\xff", true)
	n.set(t, "deleted", `"needle-deleted"`, false)
	must(n.PutDocument(t.Context(), picloud.DocumentChange{App: "default", Collection: "c", ID: "d", Body: []byte(`{"is":"needle-document"}`)}))(t)
	must(n.PutFile(t.Context(), picloud.FileChange{App: "default", Path: "needle-file.txt", Type: "text/plain", Size: -1}, strings.NewReader(large)))(t)
	n.drained(t)
	want := must(n.Entry("default", "lamp"))(t)
	wantFile := must(n.File("default", "needle-file.txt"))(t)
	n.checkpointed(t, dir, "needle-file.txt")
	n.drained(t)
	n.stop()
	loseRows(t, dir, "needle-kv", "needle-raw", "needle-document", "needle-file", "needle-deleted")
	n = start(t, dir, "") // which finds out, and is not connected
	if _, err := n.Entry("default", "lamp"); !errors.Is(err, picloud.ErrKVNotFound) {
		t.Fatalf("a damaged row is there: %v", err)
	}
	n.set(t, "raw", `"new"`, false)
	n.set(t, "deleted", "1", false)
	if err := n.DeleteEntry(t.Context(), picloud.Deletion{App: "default", Name: "deleted"}); err != nil {
		t.Fatal(err)
	}
	n.stop()
	n = start(t, dir, url)
	n.drained(t)
	if got := must(n.Entry("default", "lamp"))(t); !bytes.Equal(got.Value, want.Value) || got.Version != want.Version || !got.UpdatedAt.Equal(want.UpdatedAt) {
		t.Errorf("came back as %+v, was %+v", got, want)
	}
	if got := must(n.Entry("default", "raw"))(t); string(got.Value) != `"new"` {
		t.Errorf("what was written since is %s", got.Value)
	}
	if _, err := n.Entry("default", "deleted"); !errors.Is(err, picloud.ErrKVNotFound) {
		t.Errorf("what was deleted is back: %v", err)
	}
	if got := must(n.Document("default", "c", "d"))(t); string(got.Body) != `{"is":"needle-document"}` {
		t.Errorf("the document is %s", got.Body)
	}
	if got := must(n.File("default", "needle-file.txt"))(t); got != wantFile {
		t.Errorf("the file is %+v, was %+v", got, wantFile)
	}
	if got := content(t, n, "needle-file.txt"); got != large {
		t.Errorf("its content has %d bytes", len(got))
	}
	if text := n.healed(t); !strings.Contains(text, "3 came back") {
		t.Errorf("told: %q", text)
	}
	same(t, pgtest.Query(t, url, "SELECT key FROM picloud.kv ORDER BY key"), []string{"lamp", "raw"})
}

func content(t *testing.T, n *node, path string) string {
	t.Helper()
	_, r, err := n.OpenFile("default", path)
	if err != nil {
		return ""
	}
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return ""
	}
	return string(b)
}

// DM-9: a content that is damaged or gone comes back from the copy, unless the copy has
// another one.
func TestDamagedContentsComeBack(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := start(t, dir, url)
	names := map[string]string{}
	for _, name := range []string{"flipped", "gone", "forged"} {
		f := must(n.PutFile(t.Context(), picloud.FileChange{App: "default", Path: name, Type: "text/plain", Size: -1}, strings.NewReader(name+large)))(t)
		names[name] = filepath.Join(n.FilesDir(), f.Blob)
	}
	n.drained(t)
	pgtest.Exec(t, url, "UPDATE picloud.file_parts SET bytes = convert_to('x', 'UTF8') || substr(bytes, 2) WHERE content = '"+filepath.Base(names["forged"])+"' AND part = 0")
	spoil(t, names["flipped"], "flipped")
	spoil(t, names["forged"], "forged")
	if err := os.Remove(names["gone"]); err != nil {
		t.Fatal(err)
	}
	if v := must(n.Verify(t.Context(), func(store.Verification) error { return nil }))(t); v.Damaged != 3 {
		t.Fatalf("%+v", v)
	}
	eventually(t, "contents are asked for", func() bool {
		n.lane.Poke()
		return len(n.DamagedContents()) == 0
	})
	for _, name := range []string{"flipped", "gone"} {
		if got := content(t, n, name); got != name+large {
			t.Errorf("%s has %d bytes", name, len(got))
		}
	}
	if content(t, n, "forged") != "" {
		t.Error("another content than was written came from the copy")
	}
	if text := n.healed(t); strings.Count(text, "came back") != 2 {
		t.Errorf("told: %q", text)
	}
}

// DM-3: a content that was damaged before it was copied does not take a good one's place in
// the copy: Postgres knows the file, and has no content of it.
func TestDamagedContentIsNotCopied(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := start(t, dir, "")
	for _, name := range []string{"damaged", "sound"} {
		f := must(n.PutFile(t.Context(), picloud.FileChange{App: "default", Path: name, Type: "text/plain", Size: -1}, strings.NewReader(name+large)))(t)
		if name == "damaged" {
			spoil(t, filepath.Join(n.FilesDir(), f.Blob), name)
		}
	}
	n.stop()
	n = start(t, dir, url)
	n.drained(t)
	same(t, pgtest.Query(t, url, "SELECT f.path, count(p.part) FROM picloud.files f LEFT JOIN picloud.file_parts p USING (content) GROUP BY 1 ORDER BY 1"), []string{"damaged 0", "sound 3"})
	if list := n.Incidents(); len(list) != 1 || !strings.Contains(list[0].Text, `"damaged"`) {
		t.Errorf("told: %+v", list)
	}
}

// DM-2, DM-9: what the copy has of records that the card has lost comes back, and the loss
// is told even where the card alone could not know of it.
func TestWhatFollowedFromLostRecordsComesBack(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := start(t, dir, url)
	pad := strings.Repeat("x", 5000)
	n.set(t, "before", "1", false)
	n.set(t, "changed", `"old"`, false)
	n.publish(t, "a", `"first `+pad+`"`)
	n.drained(t)
	n.set(t, "changed", `"lost new `+pad+`"`, false)
	n.set(t, "made", `"lost `+pad+`"`, false)
	n.drained(t)
	killed := clone(t, dir)
	n.stop()
	names := must(filepath.Glob(filepath.Join(killed, "journal", "*.log")))(t)
	b := must(os.ReadFile(slices.Max(names)))(t)
	at := bytes.Index(b, []byte(`"lost new`))
	clear(b[at:])
	if err := os.WriteFile(slices.Max(names), b, 0o600); err != nil {
		t.Fatal(err)
	}
	n = start(t, killed, url)
	n.drained(t)
	for key, want := range map[string]string{"before": "1", "changed": `"lost new ` + pad + `"`, "made": `"lost ` + pad + `"`} {
		if got := must(n.Entry("default", key))(t); string(got.Value) != want {
			t.Errorf("%s is %.20s", key, got.Value)
		}
	}
	if text := n.healed(t); !strings.Contains(text, "2 came back") {
		t.Errorf("told: %q", text)
	}
	same(t, pgtest.Query(t, url, "SELECT key FROM picloud.kv ORDER BY key"), []string{"before", "changed", "made"})
}

// DM-9: a comparison finds what the copy and the node have alone, however many other things
// they have, and takes nothing for a difference that is on its way.
func TestCopyIsCompared(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	n := start(t, t.TempDir(), url)
	for i := range 1500 {
		n.set(t, fmt.Sprintf("k ü %d", i), fmt.Sprint(i), false)
	}
	must(n.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "t"}))(t)
	must(n.EnsureSigningKey(t.Context(), "default"))(t)
	must(n.CreateAPIKey(t.Context(), picloud.APIKey{ID: "k1", App: "default", Scopes: []picloud.Scope{picloud.ScopeAppRead}}))(t)
	must(n.SaveScript(t.Context(), picloud.Script{App: "default", Name: "s", Source: "1"}, picloud.Precondition{}))(t)
	must(n.PutDocument(t.Context(), picloud.DocumentChange{App: "default", Collection: "c", ID: "d/e", Body: []byte(`{}`)}))(t)
	must(n.PutFile(t.Context(), picloud.FileChange{App: "default", Path: "f", Type: "text/plain", Size: -1}, strings.NewReader("x")))(t)
	for _, overlap := range []time.Duration{time.Hour, 0, 0} {
		must(n.RotateSigningKey(t.Context(), "default", overlap))(t)
	}
	must(n.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: "short", Value: []byte("1"), TTL: time.Millisecond}))(t)
	must(n.CreateApp(t.Context(), picloud.App{Name: "gone"}))(t)
	must(n.SetEntry(t.Context(), picloud.EntryChange{App: "gone", Key: "k", Value: []byte("1")}))(t)
	if err := n.DeleteApp(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	n.drained(t)
	compare := func(lost, missing string) {
		t.Helper()
		c, err := n.copy.Compare(t.Context(), n.lane.Poke)
		if err != nil {
			t.Fatal(err)
		}
		if c.Things < 1506 || strings.Join(c.Lost, ", ") != lost || strings.Join(c.Missing, ", ") != missing {
			t.Errorf("%d things, lost %q, missing %q", c.Things, c.Lost, c.Missing)
		}
	}
	compare("", "")
	slow := make(chan struct{})
	go func() { // what is on its way is no difference
		defer close(slow)
		for i := range 200 {
			if _, err := n.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: "k ü 1", Value: fmt.Append(nil, i)}); err != nil {
				t.Error(err)
			}
		}
	}()
	compare("", "")
	compare("", "")
	<-slow
	if err := n.DeleteEntry(t.Context(), picloud.Deletion{App: "default", Name: "k ü 2"}); err != nil {
		t.Fatal(err)
	}
	compare("", "")
	n.drained(t)
	pgtest.Exec(t, url, "DELETE FROM picloud.kv WHERE key = 'k ü 3'")
	pgtest.Exec(t, url, "DELETE FROM picloud.documents")
	pgtest.Exec(t, url, "UPDATE picloud.kv SET version = version + 1 WHERE key = 'k ü 4'")
	pgtest.Exec(t, url, "UPDATE picloud.kv SET version = version - 1 WHERE key = 'k ü 5'")
	pgtest.Exec(t, url, "UPDATE picloud.definitions SET name = 'other'")
	pgtest.Exec(t, url, "DELETE FROM picloud.file_parts")
	compare(`kv "k ü 4" of app "default", script "other" of app "default"`,
		`document "c/d/e" of app "default", file "f" of app "default", kv "k ü 3" of app "default", kv "k ü 5" of app "default", script "s" of app "default"`)
	compare(`kv "k ü 4" of app "default", script "other" of app "default"`, "") // it was copied anew
	same(t, pgtest.Query(t, url, "SELECT convert_from(bytes, 'UTF8') FROM picloud.file_parts"), []string{"x"})
	same(t, pgtest.Query(t, url, "SELECT key FROM picloud.kv WHERE key IN ('k ü 3', 'k ü 5') ORDER BY key"), []string{"k ü 3", "k ü 5"})
}

// PG-3, DM-9: a killed node that has lost its journal, and with it the note of its session,
// goes on at its place, and what the copy has comes back.
func TestLostJournalComesBack(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	here := func(pc *pgsync.Config, _ *dispatch.Config) { pc.Place = "here" }
	dir := t.TempDir()
	n := start(t, dir, url, here)
	must(n.CreateApp(t.Context(), picloud.App{Name: "shop"}))(t)
	for i := range 50 {
		must(n.SetEntry(t.Context(), picloud.EntryChange{App: "shop", Key: fmt.Sprint("k", i), Value: fmt.Append(nil, i)}))(t)
	}
	n.drained(t)
	killed := clone(t, dir)
	n.stop()
	if err := os.RemoveAll(filepath.Join(killed, "journal")); err != nil {
		t.Fatal(err)
	}
	n = start(t, killed, url, here)
	n.drained(t)
	for i := range 50 {
		if got := must(n.Entry("shop", fmt.Sprint("k", i)))(t); string(got.Value) != fmt.Sprint(i) {
			t.Errorf("k%d is %s", i, got.Value)
		}
	}
	same(t, pgtest.Query(t, url, "SELECT app, count(*) FROM picloud.kv GROUP BY 1"), []string{"shop 50"})
}

// SR-5, DM-9: nothing of a deleted app comes back into the next one of its name, out of the
// copy or by a restore from it.
func TestNothingOfADeletedAppComesBack(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := start(t, dir, url)
	must(n.CreateApp(t.Context(), picloud.App{Name: "shop"}))(t)
	must(n.SetEntry(t.Context(), picloud.EntryChange{App: "shop", Key: "k", Value: []byte(`"needle-of-before"`)}))(t)
	must(n.PutDocument(t.Context(), picloud.DocumentChange{App: "shop", Collection: "c", ID: "d", Body: []byte(`{"is":"needle-document"}`)}))(t)
	must(n.PutFile(t.Context(), picloud.FileChange{App: "shop", Path: "needle-file.txt", Size: -1}, strings.NewReader("x")))(t)
	n.checkpointed(t, dir, "needle-file.txt")
	n.drained(t)
	n.stop()
	loseRows(t, dir, "needle-of-before", "needle-document", "needle-file.txt")
	n = start(t, dir, "")
	if err := n.DeleteApp(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	must(n.CreateApp(t.Context(), picloud.App{Name: "shop"}))(t)
	must(n.SetEntry(t.Context(), picloud.EntryChange{App: "shop", Key: "own", Value: []byte("1")}))(t)
	n.stop()
	n = start(t, dir, url)
	n.drained(t)
	if page := must(n.Entries(picloud.EntryList{App: "shop"}))(t); len(page.Entries) != 1 || page.Entries[0].Key != "own" {
		t.Errorf("the next app has %+v", page.Entries)
	}
	if _, err := n.Document("shop", "c", "d"); err == nil {
		t.Error("a document is back")
	}
	same(t, pgtest.Query(t, url, "SELECT key FROM picloud.kv UNION ALL SELECT id FROM picloud.documents UNION ALL SELECT path FROM picloud.files UNION ALL SELECT content FROM picloud.file_parts"), []string{"own"})
}

// DM-7, DM-9: a node that was restored from a backup stays what it was then: the copy follows
// it, and nothing newer comes back from there.
func TestRestoredBackupIsNotHealed(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	n := start(t, t.TempDir(), url)
	n.set(t, "changed", `"old"`, false)
	must(n.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "t", Description: "old"}))(t)
	n.drained(t)
	var archive bytes.Buffer
	if err := n.Backup(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	text := "new"
	must(n.UpdateTopic(t.Context(), "default", "t", picloud.TopicPatch{Description: &text}))(t)
	n.set(t, "changed", `"new"`, false)
	must(n.CreateApp(t.Context(), picloud.App{Name: "newer"}))(t)
	must(n.SetEntry(t.Context(), picloud.EntryChange{App: "newer", Key: "k", Value: []byte("1")}))(t)
	must(n.CreateTopic(t.Context(), picloud.Topic{App: "newer", Name: "newer"}))(t)
	n.drained(t)
	n.stop()
	dir := filepath.Join(t.TempDir(), "restored")
	must(store.Restore(store.Config{Dir: dir, ReserveBytes: -1, SegmentSize: 512 << 10, Readers: []string{picloud.Central}}, store.Archived{From: &archive}))(t)
	here := func(pc *pgsync.Config, _ *dispatch.Config) { pc.Place = "here" }
	n = start(t, dir, url, here)
	n.drained(t)
	if got := must(n.Entry("default", "changed"))(t); string(got.Value) != `"old"` || len(n.Apps()) != 1 || len(n.Incidents()) > 0 {
		t.Errorf("%s, %v, %+v", got.Value, n.Apps(), n.Incidents())
	}
	same(t, pgtest.Query(t, url, "SELECT name FROM picloud.apps UNION ALL SELECT value::text FROM picloud.kv UNION ALL SELECT description FROM picloud.topics"), []string{"default", `"old"`, "old"})
	later := `"lost later ` + strings.Repeat("x", 5000) + `"` // what the card loses later comes back all the same
	n.set(t, "later", later, false)
	n.drained(t)
	killed := clone(t, dir)
	n.stop()
	newest := slices.Max(must(filepath.Glob(filepath.Join(killed, "journal", "*.log")))(t))
	b := must(os.ReadFile(newest))(t)
	clear(b[bytes.Index(b, []byte(`"lost later`)):])
	if err := os.WriteFile(newest, b, 0o600); err != nil {
		t.Fatal(err)
	}
	n = start(t, killed, url, here)
	n.drained(t)
	if got := must(n.Entry("default", "later"))(t); string(got.Value) != later {
		t.Errorf("later is %.20s", got.Value)
	}
}
