package store_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

var newFixture = flag.String("fixture", "", "write testdata/formats/NAME: a data directory and a backup as this version writes them")

const fixtures = "testdata/formats"

// Whatever a version of picloud has written, every later one reads: each directory
// and backup below testdata/formats opens without a fault, has all that was put into
// it, takes new things, and opens again.
func TestFormatsOfEveryVersionAreRead(t *testing.T) {
	t.Parallel()
	if *newFixture != "" {
		writeFixture(t, filepath.Join(fixtures, *newFixture))
	}
	for _, name := range fixtureNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			unpackDir(t, filepath.Join(fixtures, name, "data.tar.gz"), dir)
			checkFixture(t, dir, fixtureContentOf(name))
		})
		t.Run(name+" from its backup", func(t *testing.T) {
			t.Parallel()
			f, err := os.Open(filepath.Join(fixtures, name, "backup.tar.gz"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			dir := t.TempDir()
			if _, err := store.Restore(fixtureConfig(dir, newTestClock()), store.Archived{From: f}); err != nil {
				t.Fatal(err)
			}
			want := fixtureContentOf(name) // but for what other nodes know, which a backup has no need of
			delete(want, "booked")
			want["signing keys"] = []string{"2 of this node", "0 of another"}
			checkFixture(t, dir, want)
		})
	}
}

// Adding a kind of row or record without a fixture fails: the newest has them all.
func TestNewestFixtureHasEveryKind(t *testing.T) {
	t.Parallel()
	names, dir := fixtureNames(t), t.TempDir()
	unpackDir(t, filepath.Join(fixtures, names[len(names)-1], "data.tar.gz"), dir)
	missing, err := store.MissingKinds(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range missing {
		t.Errorf("fixture %s has no %s; write a new one: go test ./store -run Formats -fixture NAME (see CONTRIBUTING.md)", names[len(names)-1], m)
	}
}

// fixtureNames lists the fixtures, oldest first.
func fixtureNames(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(fixtures)
	if err != nil || len(entries) == 0 {
		t.Fatal("there are no fixtures", err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// checkFixture opens a directory that writeFixture made, twice, and holds all that it
// has against what it should have.
func checkFixture(t *testing.T, dir string, want map[string][]string) {
	t.Helper()
	clock := newTestClock()
	clock.move(time.Hour)
	cfg := fixtureConfig(dir, clock)
	s := start(t, cfg)
	if h := s.Health(); h.Degraded {
		t.Fatalf("health %+v", h)
	}
	if diff := cmp.Diff(want, readFixture(t, s)); diff != "" {
		t.Errorf("what was written is read as (-written +read)\n%s", diff)
	}
	publish(t, s, "shop", "orders", `{"n":4}`)
	if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "shop", Key: "new", Value: []byte("1")}); err != nil {
		t.Error(err)
	}
	if _, err := s.PutDocument(t.Context(), picloud.DocumentChange{App: "shop", Collection: "customers", ID: "alan", Body: []byte(`{"name":"Alan"}`)}); err != nil {
		t.Error(err)
	}
	s.stop(t)
	s = start(t, cfg)
	if h := s.Health(); h.Degraded {
		t.Fatalf("opened again: health %+v", h)
	}
	want["entries"] = append([]string{"new = 1"}, want["entries"]...)
	want["documents"] = append(want["documents"], `alan {"name":"Alan"}`)
	want["customers by name"] = []string{"ada", "alan", "grace"}
	want["orders"] = append(want["orders"], `{"n":4} local stamped:false`)
	want["owed by on-order"] = append(want["owed by on-order"], `{"n":4} 0 []`)
	slices.Sort(want["entries"])
	slices.Sort(want["documents"])
	if diff := cmp.Diff(want, readFixture(t, s)); diff != "" {
		t.Errorf("opened again, what was written is read as (-written +read)\n%s", diff)
	}
}

// fixtureContentOf is what readFixture finds in a fixture: older ones lack what came
// later.
func fixtureContentOf(name string) map[string][]string {
	want := fixtureContent()
	if name == "001" {
		delete(want, "incidents")
		delete(want, "slow") // deliveries held their data, as many as there were
		want["apps"] = slices.DeleteFunc(want["apps"], func(app string) bool { return strings.HasPrefix(app, "slow") })
	}
	return want
}

// fixtureContent is what readFixture finds in what writeFixture wrote.
func fixtureContent() map[string][]string {
	return map[string][]string{
		"apps":              {"default", "shop: A shop. [https://shop.example]", "slow:  []"},
		"topics":            {"load telemetry external:false 0", "orders sync external:true 100"},
		"keys":              {"key1 shop till [app:publish] 010203 used:true"},
		"signing keys":      {"2 of this node", "1 of another"},
		"booked":            {"x.tmp.1"},
		"note":              {"a note"},
		"incidents":         {"nothing was lost"},
		"scripts":           {"1: // the first\n", "2: export default () => 1\n", "3: export default () => 2\n"},
		"triggers":          {"nightly cron @daily Europe/Berlin till", "on-dead dead_letter on-order till", "on-order pubsub orders till"},
		"endpoints":         {"order POST /orders/{id} till public"},
		"collections":       {"customers [address.city name]"},
		"entries":           {"offer = \"half price\" until 2027-01-30", "open = false", "picture = \x00\x01\xff", "visits = 41"},
		"documents":         {`ada {"address":{"city":"Rome"},"n":10,"name":"Ada"}`, `grace {"name":"Grace","address":{"city":"Rome"},"n":1}`},
		"customers by name": {"ada", "grace"},
		"files":             {"empty text/plain: ", "prices/today.txt text/plain: tea 3\n"},
		"secret":            {"a secret"},
		"orders":            {`{"n":1} local stamped:false`, `{"n":2} local stamped:false`, `{"n":3} local stamped:false`},
		"load":              {"0.5 local stamped:false"},
		"strange":           {`"boot-2" local stamped:true`, `"and on time" local stamped:false`},
		"flood":             {`"the last" local stamped:false`},
		"published once":    {`1 {"n":1}`, `2 {"n":2}`, `5 {"n":3}`},
		"owed by on-order":  {`{"n":1} 1 [no paper]`, `{"n":3} 0 []`},
		"owed by nightly":   {" 0 []"},
		"owed by on-dead":   {"dead letter 0 []"},
		"dead letters":      {`on-order {"n":2} no ink handled:1`},
		"last tick":         {"2026-11-01T00:00:00Z"},
		"owed by order":     {`{"input":{"n":3}} 0 []`},
		"result":            {`done {"ok":true}`},
		"waiting result":    {"waiting"},
		"runs":              {"till 2 trigger:on-order 1 1s error no paper [info printing]"},
		"cursor":            {"true"},
		"slow":              {"2", "3", "4", "behind:true given up:1 told:1"},
	}
}

// fixtureReader reads what there is, and fails the test where something cannot be.
type fixtureReader struct {
	*running

	t   *testing.T
	got map[string][]string
}

func readFixture(t *testing.T, s *running) map[string][]string {
	t.Helper()
	r := &fixtureReader{running: s, t: t, got: map[string][]string{}}
	r.catalog()
	r.data()
	r.history()
	r.owed()
	return r.got
}

func (r *fixtureReader) add(what, format string, args ...any) {
	r.got[what] = append(r.got[what], fmt.Sprintf(format, args...))
}

func read[T any](r *fixtureReader) func(v T, err error) T {
	return func(v T, err error) T {
		r.t.Helper()
		if err != nil {
			r.t.Error(err)
		}
		return v
	}
}

func (r *fixtureReader) catalog() {
	for _, a := range r.Apps() {
		if a.Name == picloud.DefaultApp {
			r.add("apps", "%s", a.Name)
			continue
		}
		r.add("apps", "%s: %s %v", a.Name, a.Description, a.AllowedOrigins)
	}
	for _, t := range read[[]picloud.Topic](r)(r.Topics("shop")) {
		r.add("topics", "%s %s external:%t %d", t.Name, t.Durability, t.External, t.Retention.MaxEvents)
	}
	for _, k := range r.APIKeys() {
		r.add("keys", "%s %s %s %v %x used:%t", k.ID, k.App, k.Label, k.Scopes, k.Hash[:3], !k.LastUsedAt.IsZero())
	}
	others := 0
	for _, k := range r.SigningKeys("shop") {
		if k.ID == "other" {
			others++
		}
	}
	r.add("signing keys", "%d of this node", len(r.SigningKeys("shop"))-others)
	r.add("signing keys", "%d of another", others)
	for name := range read[map[string]time.Time](r)(r.Booked()) {
		r.add("booked", "%s", name)
	}
	r.add("note", "%s", r.Note("fixture"))
	for _, in := range r.Incidents() {
		r.add("incidents", "%s", in.Text)
	}
	for _, t := range read[[]picloud.Trigger](r)(r.Triggers("shop")) {
		r.add("triggers", "%s", strings.Join(strings.Fields(strings.Join([]string{t.Name, string(t.Kind), t.Topic, t.Schedule, t.TimeZone, t.Source, t.Script}, " ")), " "))
	}
	for _, e := range read[[]picloud.Endpoint](r)(r.Endpoints("shop")) {
		r.add("endpoints", "%s %s %s %s %s", e.Name, e.Method, e.Path, e.Script, e.Auth)
	}
	for _, c := range read[[]picloud.Collection](r)(r.Collections("shop")) {
		r.add("collections", "%s %v", c.Name, c.Indexes)
	}
	r.add("cursor", "%t", r.Cursor(picloud.Central).LSN > 0)
}

func (r *fixtureReader) data() {
	for _, sc := range read[[]picloud.Script](r)(r.ScriptVersions("shop", "till")) {
		r.add("scripts", "%d: %s", sc.Version, sc.Source)
	}
	for _, e := range read[picloud.EntryPage](r)(r.Entries(picloud.EntryList{App: "shop"})).Entries {
		until := ""
		if !e.ExpiresAt.IsZero() {
			until = e.ExpiresAt.Format(" until 2006-01-02")
		}
		r.add("entries", "%s = %s%s", e.Key, e.Value, until)
	}
	for _, d := range read[picloud.DocumentPage](r)(r.FindDocuments(picloud.DocumentQuery{App: "shop", Collection: "customers"})).Documents {
		r.add("documents", "%s %s", d.ID, d.Body)
	}
	page := read[picloud.DocumentPage](r)(r.FindDocuments(picloud.DocumentQuery{
		App: "shop", Collection: "customers", Sort: "name", Where: []picloud.Condition{{Field: "name", Op: picloud.OpGreater, Value: "A"}},
	}))
	for _, d := range page.Documents {
		r.add("customers by name", "%s", d.ID)
	}
	files, _, err := r.Files("shop", "", "", 10)
	if err != nil {
		r.t.Error(err)
	}
	for _, f := range files {
		_, content, err := r.OpenFile("shop", f.Path)
		if err != nil {
			r.t.Error(err)
			continue
		}
		r.add("files", "%s %s: %s", f.Path, f.Type, read[[]byte](r)(io.ReadAll(content)))
		_ = content.Close() // only read
	}
	r.add("secret", "%s", read[string](r)(r.Secret("shop", "mail")))
	for _, run := range read[[]picloud.Run](r)(r.Runs("shop", "till", "", 10)) {
		var lines []string
		for _, l := range run.Lines {
			lines = append(lines, l.Level+" "+l.Text)
		}
		r.add("runs", "%s %d %s %d %s %s %s %s", run.Script, run.Version, run.Cause, run.Attempt, run.Duration, run.Outcome, run.Error, lines)
	}
	id := string(r.Note("answered"))
	if id == "" {
		id = "done" // in fixture 001 it was chosen
	}
	result := read[picloud.Result](r)(r.Result("shop", id))
	r.add("result", "%s %s", result.State, result.Output)
}

func (r *fixtureReader) history() {
	for app, topics := range map[string][]string{"shop": {"orders", "load"}, "default": {"strange", "flood"}} {
		for _, topic := range topics {
			page := read[picloud.HistoryPage](r)(r.Events(r.t.Context(), picloud.HistoryQuery{App: app, Topics: []string{topic}}))
			for _, e := range page.Events {
				if len(e.Data) < 1000 {
					r.add(topic, "%s %s stamped:%t", e.Data, e.Source, e.Stamp != nil)
				}
			}
		}
	}
	for key, drafts := range map[string][]picloud.Draft{
		"once":  {{Topic: "orders", Data: []byte(`{"n":1}`)}, {Topic: "orders", Data: []byte(`{"n":2}`)}},
		"again": {{Topic: "orders", Data: []byte(`{"n":3}`)}},
	} { // published before: nothing new comes of it
		events := read[[]picloud.Event](r)(r.Publish(r.t.Context(), picloud.Publication{App: "shop", By: picloud.LocalOperator(), IdempotencyKey: key, Drafts: drafts}))
		for _, e := range events {
			r.add("published once", "%d %s", e.Seq, e.Data)
		}
	}
	slices.Sort(r.got["published once"])
}

func (r *fixtureReader) owed() {
	for _, t := range read[[]picloud.Trigger](r)(r.Triggers("shop")) {
		for _, d := range read[[]picloud.Delivery](r)(r.deliveries(t, 0, 100)) {
			data := string(d.What.Data)
			if t.Kind == picloud.TriggerDeadLetter {
				data = "dead letter"
			}
			r.add("owed by "+t.Name, "%s %d %s", data, d.Attempts, d.Errors)
		}
		if t.Kind == picloud.TriggerCron {
			r.add("last tick", "%s", read[time.Time](r)(r.LastTick(t)).Format(time.RFC3339))
		}
	}
	if tr, err := r.Trigger("slow", "t"); err == nil {
		for _, d := range read[[]picloud.Delivery](r)(r.deliveries(tr, 0, 100)) {
			r.add("slow", "%s", d.What.Data)
		}
		letters, _, err := r.DeadLetters("slow", picloud.LetterFilter{})
		if err != nil || len(letters) != 1 {
			r.t.Fatal(letters, err)
		}
		r.add("slow", "behind:%t given up:%d told:%d", r.Behind(tr) > 0, r.GivenUp(tr), letters[0].GivenUp)
	}
	e := read[picloud.Endpoint](r)(r.Endpoint("shop", "order"))
	for _, d := range read[[]picloud.Delivery](r)(r.deliveries(picloud.Trigger{App: e.App, Name: e.Name, ID: e.ID, Kind: picloud.TriggerHTTP}, 0, 100)) {
		r.add("owed by order", "%s %d %s", d.What.Data, d.Attempts, d.Errors)
		r.add("waiting result", "%s", read[picloud.Result](r)(r.Result("shop", d.What.Name)).State)
	}
	letters, _, err := r.DeadLetters("shop", picloud.LetterFilter{})
	if err != nil {
		r.t.Error(err)
	}
	for _, l := range letters {
		r.add("dead letters", "%s %s %s handled:%d", l.Trigger, l.What.Data, l.Reason, len(l.HandledBy))
	}
}

// packDir writes what is in a directory, but for its lock, as a compressed archive.
func packDir(t *testing.T, dir, to string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	zw, _ := gzip.NewWriterLevel(f, gzip.BestCompression)
	tw := tar.NewWriter(zw)
	if err := errors.Join(tw.AddFS(os.DirFS(dir)), tw.Close(), zw.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func unpackDir(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(zr)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.FileInfo().IsDir() {
			err = os.MkdirAll(to, 0o700)
		} else if err = os.MkdirAll(filepath.Dir(to), 0o700); err == nil {
			var b []byte
			if b, err = io.ReadAll(tr); err == nil {
				err = os.WriteFile(to, b, 0o600)
			}
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
}
