package pgsync_test

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/pgsync"
	"github.com/picloud/picloud/pgsync/pgtest"
	"github.com/picloud/picloud/store"
)

var keepAll = picloud.Retention{MaxEvents: 1 << 30, MaxAge: 1000 * time.Hour, MaxBytes: 1 << 40}

// restore brings a node back into a new directory.
func restore(t *testing.T, url, name string, key []byte, retention picloud.Retention) (dir string, src *pgsync.Source) {
	t.Helper()
	src, err := pgsync.OpenSource(t.Context(), pgsync.Config{URL: func() (string, error) { return url, nil }}, name, key, retention)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close(t.Context())
	dir = filepath.Join(t.TempDir(), "restored")
	_, err = store.Rebuild(t.Context(), store.Config{Dir: dir, ReserveBytes: -1, SegmentSize: 512 << 10, Readers: []string{picloud.Central}}, store.Rebuilt{
		ID: src.ID, Incarnation: src.Incarnation, RecoveryKey: key,
		Fill:     func(put func(picloud.Record) error) error { return src.Records(t.Context(), put) },
		Contents: func(put func(name string, part []byte) error) error { return src.Contents(t.Context(), put) },
		HandOver: func(node picloud.Node, last uint64) error { return src.HandOver(t.Context(), node, last) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir, src
}

// large is a content of several parts.
var large = strings.Repeat("0123456789abcdef", 40_000)

// PG-5: the card died. A new one has identity, apps, topics, keys and history
// again, goes on copying itself where the old one stopped, and the old one is
// fenced off when it wakes up.
func TestDeadCardIsRestored(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := start(t, dir, url)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := n.CreateApp(t.Context(), picloud.App{Name: "shop", Description: "d", AllowedOrigins: []string{"https://x.example"}})
	must(err)
	_, err = n.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "a", External: true, Retention: picloud.Retention{MaxEvents: 2000}})
	must(err)
	_, err = n.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "gone"})
	must(err)
	_, err = n.CreateAPIKey(t.Context(), picloud.APIKey{ID: "k1", Label: "l", App: "shop", Scopes: []picloud.Scope{picloud.ScopeAppRead}, Hash: [32]byte{1}, ExpiresAt: time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)})
	must(err)
	signing, err := n.EnsureSigningKey(t.Context(), "default")
	must(err)
	n.publish(t, "gone", `"forgotten"`)
	must(n.DeleteTopic(t.Context(), "default", "gone"))
	for i := range 1500 {
		n.publish(t, "a", fmt.Sprintf(`{"i":%d,"text":"ü"}`, i))
		if i%100 == 0 {
			n.publish(t, "b", fmt.Sprint(i))
		}
	}
	n.set(t, "lamp", `{"on":true}`, false)
	n.set(t, "raw", "\x00\xff", true)
	if _, err := n.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: "short", Value: []byte("1"), TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	script, err := n.SaveScript(t.Context(), picloud.Script{App: "shop", Name: "door", Source: "export default () => 1"}, picloud.Precondition{})
	must(err)
	trigger, err := n.SaveTrigger(t.Context(), picloud.Trigger{App: "shop", Name: "bell", Kind: picloud.TriggerKV, Script: "door", Enabled: true})
	must(err)
	_, err = n.SetEntry(t.Context(), picloud.EntryChange{App: "shop", Key: "k", Value: []byte("1")})
	must(err)
	owed, err := n.Deliveries(trigger, 0, 10)
	must(err)
	delivery, _, err := n.DeliveryAt(trigger, owed[0].LSN)
	must(err)
	must(n.Bury(t.Context(), trigger, delivery, "broken"))
	letters, _, err := n.DeadLetters("shop", picloud.LetterFilter{})
	must(err)
	_, err = n.SaveCollection(t.Context(), picloud.Collection{App: "shop", Name: "orders", Indexes: []string{"who"}})
	must(err)
	doc, err := n.PutDocument(t.Context(), picloud.DocumentChange{App: "shop", Collection: "orders", Body: []byte(`{"who":"ada"}`)})
	must(err)
	file, err := n.PutFile(t.Context(), picloud.FileChange{App: "shop", Path: "a/b"}, strings.NewReader(large))
	must(err)
	_, err = n.PutFile(t.Context(), picloud.FileChange{App: "shop", Path: "empty"}, strings.NewReader(""))
	must(err)
	entries, err := n.Entries(picloud.EntryList{App: "default"})
	must(err)
	n.drained(t)
	want := published(t, n, "a", "b")
	apps, topics := n.Apps(), mustTopics(t, n)
	key, id := n.RecoveryKey(), n.Node().ID
	n.stop()

	restored, src := restore(t, url, "pi", key, keepAll)
	if src.ID != id || src.Events != uint64(len(want)) || src.Backlog != 0 {
		t.Errorf("source %+v", src)
	}
	n = start(t, restored, url)
	if got := n.Node(); got.ID != id || got.Incarnation != 2 {
		t.Errorf("node %+v", got)
	}
	got := published(t, n, "a", "b")
	same(t, withoutEpoch(got), withoutEpoch(want))
	if fmt.Sprint(n.Apps()) != fmt.Sprint(apps) || fmt.Sprint(mustTopics(t, n)) != fmt.Sprint(topics) {
		t.Errorf("apps %+v and topics %+v, want %+v and %+v", n.Apps(), mustTopics(t, n), apps, topics)
	}
	if keys := n.SigningKeys("default"); len(keys) != 1 || keys[0] != signing {
		t.Errorf("signing keys %v", keys)
	}
	if k, ok := n.APIKey("k1"); !ok || k.Hash != [32]byte{1} || k.App != "shop" {
		t.Errorf("API key %+v", k)
	}
	if page, err := n.Entries(picloud.EntryList{App: "default"}); err != nil || fmt.Sprint(page) != fmt.Sprint(entries) {
		t.Errorf("entries %+v, %v, want %+v", page, err, entries)
	}
	if tr, err := n.Trigger("shop", "bell"); err != nil || tr != trigger {
		t.Errorf("trigger %+v, %v, want %+v", tr, err, trigger)
	}
	if got, _, err := n.DeadLetters("shop", picloud.LetterFilter{}); err != nil || fmt.Sprint(got) != fmt.Sprint(letters) {
		t.Errorf("dead letters %+v, %v, want %+v", got, err, letters)
	}
	if owed, err := n.Deliveries(trigger, 0, 10); err != nil || len(owed) != 0 {
		t.Errorf("being restored made the trigger owe %+v, %v", owed, err)
	}
	found, err := n.FindDocuments(picloud.DocumentQuery{App: "shop", Collection: "orders", Where: []picloud.Condition{{Field: "who", Op: picloud.OpEqual, Value: "ada"}}})
	if err != nil || fmt.Sprint(found.Documents) != fmt.Sprint([]picloud.Document{doc}) {
		t.Errorf("documents %+v, %v, want %+v", found.Documents, err, doc)
	}
	for path, want := range map[string]string{"a/b": large, "empty": ""} {
		f, r, err := n.OpenFile("shop", path)
		must(err)
		if b, err := io.ReadAll(r); err != nil || string(b) != want || (path == "a/b" && f != file) {
			t.Errorf("file %+v of %d bytes, %v, want %+v", f, len(b), err, file)
		}
		_ = r.Close()
	}
	if sc, err := n.Script("shop", "door"); err != nil || sc != script {
		t.Errorf("script %+v, %v, want %+v", sc, err, script)
	}
	if h := history(t, n, "gone"); len(h) != 0 {
		t.Errorf("a deleted topic is back: %v", h)
	}
	n.publish(t, "a", `"after"`)
	n.drained(t)
	same(t, pgtest.Query(t, url, "SELECT count(*) FROM picloud.events WHERE topic IN ('a', 'b')"), []string{fmt.Sprint(len(want) + 1)})
	old := start(t, dir, url)
	old.publish(t, "a", `"from the old card"`)
	old.until(t, "the old card is refused", waiting("this is an old card"))
	page, err := n.Events(t.Context(), picloud.HistoryQuery{App: "default", Topics: []string{"a"}, Limit: 1})
	must(err)
	if e, err := n.Event(t.Context(), "default", page.Events[0].Position); err != nil || e.Durability != picloud.DurabilityCentral {
		t.Errorf("a restored event is %+v, %v", e, err)
	}
}

func mustTopics(t *testing.T, n *node) []picloud.Topic {
	t.Helper()
	topics, err := n.Topics("default")
	if err != nil {
		t.Fatal(err)
	}
	return topics
}

func history(t *testing.T, n *node, topic string) []picloud.Event {
	t.Helper()
	page, err := n.Events(t.Context(), picloud.HistoryQuery{App: "default", Topics: []string{topic}})
	if err != nil {
		t.Fatal(err)
	}
	return page.Events
}

// withoutEpoch leaves out what a restore has to change.
func withoutEpoch(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		_, out[i], _ = strings.Cut(l, ".")
	}
	return out
}

// Only as much history comes back as the node would keep.
func TestRestoreKeepsToRetention(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	n := start(t, t.TempDir(), url)
	for i := range 50 {
		n.publish(t, "a", fmt.Sprint(i))
		n.publish(t, "b", fmt.Sprint(i))
	}
	n.drained(t)
	key := n.RecoveryKey()
	n.stop()
	limits := keepAll
	limits.MaxEvents = 10
	dir, src := restore(t, url, "pi", key, limits)
	n = start(t, dir, "")
	if got := published(t, n, "a", "b"); len(got) != 20 || src.Events != 20 || !strings.Contains(got[19], " b 49 ") {
		t.Errorf("%d events of %d: %v", len(got), src.Events, got)
	}
}

// Nobody takes a node over without its recovery key, and nothing happens to it
// when somebody tries.
func TestRestoreNeedsTheRecoveryKey(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	n := start(t, t.TempDir(), url)
	n.publish(t, "a", "1")
	n.drained(t)
	open := func(name string, key []byte) error {
		src, err := pgsync.OpenSource(t.Context(), pgsync.Config{URL: func() (string, error) { return url, nil }}, name, key, keepAll)
		if err == nil {
			src.Close(t.Context())
		}
		return err
	}
	if err := open("pi", []byte("guess")); !errors.Is(err, pgsync.ErrRecoveryKey) {
		t.Errorf("a guess: %v", err)
	}
	if err := open("nobody", n.RecoveryKey()); err == nil || !strings.Contains(err.Error(), "no node") {
		t.Errorf("a name nobody has: %v", err)
	}
	twin := start(t, t.TempDir(), url)
	twin.drained(t)
	if err := open("pi", n.RecoveryKey()); err == nil || !strings.Contains(err.Error(), n.Node().ID) || !strings.Contains(err.Error(), twin.Node().ID) {
		t.Errorf("a name that two have: %v", err)
	}
	if err := open(n.Node().ID, n.RecoveryKey()); err != nil {
		t.Errorf("the id: %v", err)
	}
	n.publish(t, "a", "2")
	n.drained(t)
}
