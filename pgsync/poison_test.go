package pgsync_test

import (
	"fmt"
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

// hostileJSON is JSON that jsonb does not take, changes, or makes huge.
var hostileJSON = map[string]string{
	"NUL":                      `"a\u0000b"`,
	"NUL in a name":            `{"a\u0000":1}`,
	"half of a pair":           `"\ud800"`,
	"pair the wrong way round": `"\ude00\ud83d"`,
	"beyond numeric":           `1e200000`,
	"beyond numeric, below":    `-1e-200000`,
	"beyond float64":           `1e400`,
	"many large numbers":       `[` + strings.Repeat(`1e131071,`, 5000) + `1]`,
	"many digits":              strings.Repeat("9", 20_000),
	"name twice":               `{"a":1,"a":2}`,
	"order of names":           `{"zz":1,"a":2,"b":{"z":1,"y":2}}`,
	"fractions":                `[1.0,1,1.50,-0,-0.0,0.1e1]`,
	"large integer":            `12345678901234567890123456789`,
	"escapes":                  `"\u00e9\/\ud83d\ude00é😀<>&` + "\u2028\x7f" + `"`,
	"no name":                  `{"":{"":""}}`,
	"deep":                     strings.Repeat("[", 100) + strings.Repeat("]", 100),
	"nothing":                  `null`,
}

// contents returns all that a node has, by what it is called.
func contents(t *testing.T, n *node) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, a := range n.Apps() {
		all["app "+a.Name] = fmt.Sprintf("%+v", a)
		for _, e := range eventsOf(t, n, a.Name) {
			all[fmt.Sprintf("event %s %s %d", a.Name, e.Topic, e.Seq)] = fmt.Sprintf("%s %s %s", e.Data, e.Source, e.PublishedAt)
		}
		entries, err := n.Entries(picloud.EntryList{App: a.Name})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries.Entries {
			all["kv "+a.Name+" "+e.Key] = fmt.Sprintf("%s %v %d", e.Value, e.Binary, e.Version)
		}
		collections, err := n.Collections(a.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range collections {
			all["collection "+a.Name+" "+c.Name] = fmt.Sprintf("%+v", c)
			docs, err := n.FindDocuments(picloud.DocumentQuery{App: a.Name, Collection: c.Name})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range docs.Documents {
				all["document "+a.Name+" "+c.Name+" "+d.ID] = fmt.Sprintf("%s %d %s", d.Body, d.Version, d.CreatedAt)
			}
		}
		topics, err1 := n.Topics(a.Name)
		scripts, err2 := n.Scripts(a.Name)
		triggers, err3 := n.Triggers(a.Name)
		endpoints, err4 := n.Endpoints(a.Name)
		secrets, err5 := n.Secrets(a.Name)
		letters, _, err6 := n.DeadLetters(a.Name, picloud.LetterFilter{})
		files, _, err7 := n.Files(a.Name, "", "", 0)
		if faults := []error{err1, err2, err3, err4, err5, err6, err7}; slices.ContainsFunc(faults, func(err error) bool { return err != nil }) {
			t.Fatal(faults)
		}
		add(all, "topic", topics, func(x picloud.Topic) string { return x.Name })
		add(all, "script", scripts, func(x picloud.Script) string { return x.Name })
		add(all, "trigger", triggers, func(x picloud.Trigger) string { return x.Name })
		add(all, "endpoint", endpoints, func(x picloud.Endpoint) string { return x.Name })
		add(all, "secret", secrets, func(x picloud.Secret) string { return x.Name })
		add(all, "file", files, func(x picloud.File) string { return x.Path })
		for _, l := range letters {
			all["dead letter "+l.Delivery] = fmt.Sprintf("%s %s %q %q", l.What.Data, l.What.Name, l.Reason, l.Errors)
		}
		for _, k := range n.SigningKeys(a.Name) {
			all["signing key "+k.ID] = fmt.Sprintf("%x %s", k.Secret, k.CreatedAt)
		}
	}
	for _, k := range n.APIKeys() {
		all["API key "+k.ID] = fmt.Sprintf("%+v", k)
	}
	return all
}

func add[T any](all map[string]string, kind string, list []T, name func(T) string) {
	for _, x := range list {
		all[kind+" "+name(x)] = fmt.Sprintf("%+v", x)
	}
}

func eventsOf(t *testing.T, n *node, app string) (events []picloud.Event) {
	t.Helper()
	for after := uint64(0); ; {
		page, err := n.Events(t.Context(), picloud.HistoryQuery{App: app, Topics: []string{"a", "poison"}, After: after})
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, page.Events...)
		if after = page.Next; !page.More {
			return events
		}
	}
}

func compare(t *testing.T, got, want map[string]string) {
	t.Helper()
	short := func(s string) string { return s[:min(len(s), 300)] }
	for name, w := range want {
		if g, ok := got[name]; !ok {
			t.Errorf("%s is missing, it was %s", name, short(w))
		} else if g != w {
			t.Errorf("%s is\n%s\nit was\n%s", name, short(g), short(w))
		}
	}
	for name, g := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is there, and is %s", name, short(g))
		}
	}
}

// fill gives a node things of every kind whose names end as it is said, with JSON for
// those that hold any.
func fill(t *testing.T, n *node, app, name, json string) {
	t.Helper()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	script, err := n.SaveScript(t.Context(), picloud.Script{App: app, Name: name, Source: "// " + json[:min(len(json), 1000)]}, picloud.Precondition{})
	must(nil, err)
	must(n.CreateTopic(t.Context(), picloud.Topic{App: app, Name: name, Description: "é"}))
	tr, err := n.SaveTrigger(t.Context(), picloud.Trigger{App: app, Name: name, Kind: picloud.TriggerKV, Script: script.Name, Prefix: name, Enabled: true})
	must(nil, err)
	must(n.SaveTrigger(t.Context(), picloud.Trigger{App: app, Name: name + "-odd", Kind: picloud.TriggerKV, Script: script.Name, Prefix: "\u2028" + name}))
	must(n.SaveEndpoint(t.Context(), picloud.Endpoint{App: app, Name: name, Script: script.Name, Path: "/" + name}))
	must(n.SetSecret(t.Context(), app, name, []byte(json[:min(len(json), 1000)])))
	must(n.SaveCollection(t.Context(), picloud.Collection{App: app, Name: name, Indexes: []string{"v"}}))
	must(n.PutDocument(t.Context(), picloud.DocumentChange{App: app, Collection: name, ID: "a/b", Body: []byte(`{"w":1,"v":` + json + `}`)}))
	must(n.SetEntry(t.Context(), picloud.EntryChange{App: app, Key: name + "-value", Value: []byte(json)}))
	must(n.PutFile(t.Context(), picloud.FileChange{App: app, Path: name + "/x"}, strings.NewReader(json)))
	must(n.CreateAPIKey(t.Context(), picloud.APIKey{ID: "key-" + name, Label: "é", App: app, Scopes: []picloud.Scope{picloud.ScopeAppRead}}))
	must(n.Publish(t.Context(), picloud.Publication{App: app, By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "poison", Data: []byte(json)}, {Topic: "a", Data: []byte("1")}}}))
	owed, err := n.Deliveries(tr, 0, 10)
	if err != nil || len(owed) != 1 {
		t.Fatal(owed, err)
	}
	d, ok, err := n.DeliveryAt(tr, owed[0].LSN)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	must(nil, n.Bury(t.Context(), tr, d, "it said a\x00b"))
}

// PG-2, PG-5: whatever JSON apps keep, it is copied and holds up nothing, and a restored
// node has it byte for byte.
func TestHostileJSONComesBackByteForByte(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	n := start(t, t.TempDir(), url)
	if _, err := n.CreateApp(t.Context(), picloud.App{Name: "shop"}); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for what, json := range hostileJSON {
		names[what] = fmt.Sprintf("n%d", len(names))
		fill(t, n, "shop", names[what], json)
	}
	n.drained(t)
	want, key := contents(t, n), n.RecoveryKey()
	if st := n.lane.Status(); st.SetAside != 0 {
		t.Errorf("%d were set aside: %q", st.SetAside, pgtest.Query(t, url, "SELECT kind, name, reason FROM picloud.set_aside"))
	}
	same(t, pgtest.Query(t, url, "SELECT body->'v' FROM picloud.documents WHERE collection = $1", names["order of names"]), []string{"map[a:2 b:map[y:2 z:1] zz:1]"})
	n.stop()
	dir, _ := restore(t, url, "pi", key, keepAll)
	compare(t, contents(t, start(t, dir, "")), want)
}

// poisoned makes the tables refuse what is called poison, for a reason of their owner's.
const poisoned = `CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF (CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END)::text ~ 'poison' THEN
			RAISE EXCEPTION 'no poison here';
		END IF;
		RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
	END $$;
	DO $$ DECLARE t text; BEGIN
		FOREACH t IN ARRAY ARRAY['apps', 'topics', 'api_keys', 'kv', 'documents', 'files', 'definitions', 'events'] LOOP
			EXECUTE format('CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON picloud.%I FOR EACH ROW EXECUTE FUNCTION public.refuse()', t);
		END LOOP;
	END $$;`

// PG-2, PG-5: what the tables refuse is set aside whole, of every kind, and named; what
// comes behind it goes on; and a restored node has all of it, the newest of each thing,
// and nothing that was deleted.
func TestWhatIsRefusedIsSetAsideWhole(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	n := start(t, t.TempDir(), url)
	n.drained(t)
	fill(t, n, "default", "before-poison", `{"n":0}`)
	n.set(t, "gone-poison", "1", false)
	n.drained(t)
	pgtest.Exec(t, url, poisoned)
	if _, err := n.CreateApp(t.Context(), picloud.App{Name: "poison", AllowedOrigins: []string{"*"}}); err != nil {
		t.Fatal(err)
	}
	fill(t, n, "poison", "one", `{"n":"\u0000"}`) // refused by nothing but the app that is not there
	fill(t, n, "default", "poison", `{"n":"\u0000"}`)
	fill(t, n, "default", "good", `{"n":2}`)
	for range 3 { // the newest counts
		n.set(t, "before-poison-value", `{"n":1e200000}`, false)
	}
	if _, err := n.PutDocument(t.Context(), picloud.DocumentChange{App: "default", Collection: "before-poison", ID: "a/b", Body: []byte(`{"changed":true}`)}); err != nil {
		t.Fatal(err)
	}
	if err := n.DeleteEntry(t.Context(), picloud.Deletion{App: "default", Name: "gone-poison"}); err != nil {
		t.Fatal(err)
	}
	n.drained(t)
	kinds := pgtest.Query(t, url, "SELECT DISTINCT kind FROM picloud.set_aside ORDER BY 1")
	same(t, kinds, []string{"api-key", "app", "collection", "dead-letter", "document", "endpoint", "event", "file", "kv", "script", "secret", "topic", "trigger"})
	same(t, pgtest.Query(t, url, "SELECT count(*) FROM picloud.set_aside WHERE kind = 'kv' AND name = 'before-poison-value'"), []string{"1"})
	newest := picloud.Refused{Kind: "kv", App: "default", Name: "gone-poison", Reason: "copy records: no poison here (SQLSTATE P0001)"}
	if st := n.lane.Status(); st.SetAside == 0 || st.State != dispatch.StateIdle || len(st.Refused) != picloud.MaxRefused || st.Refused[0] != newest {
		t.Errorf("%+v", st)
	}
	pgtest.Exec(t, url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	n.set(t, "after", "1", false)
	n.drained(t)
	if st := n.lane.Status(); len(st.Refused) != picloud.MaxRefused || st.Refused[0] != newest {
		t.Errorf("after a new connection: %+v", st)
	}
	want, key := contents(t, n), n.RecoveryKey()
	n.stop()
	dir, src := restore(t, url, "pi", key, keepAll)
	if src.SetAside != 0 {
		t.Errorf("%d are not restored", src.SetAside)
	}
	n = start(t, dir, url)
	compare(t, contents(t, n), want)

	// What is mended goes to its place with the next version.
	pgtest.Exec(t, url, "DROP FUNCTION public.refuse() CASCADE")
	n.set(t, "before-poison-value", "4", false)
	n.set(t, "gone-poison", "5", false)
	n.drained(t)
	same(t, pgtest.Query(t, url, "SELECT count(*) FROM picloud.set_aside WHERE kind = 'kv' AND name IN ('before-poison-value', 'gone-poison')"), []string{"0"})
	want, key = contents(t, n), n.RecoveryKey()
	n.stop()
	dir, _ = restore(t, url, "pi", key, keepAll)
	compare(t, contents(t, start(t, dir, "")), want)
}

// PG-2: a row that is refused while all data are copied anew, since the journal has
// dropped them, holds up nothing either.
func TestRefusedDataOlderThanTheJournalAreSetAside(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	if _, err := pgsync.MigrateUp(t.Context(), urlOf(url)); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, poisoned)
	dir := t.TempDir()
	n := alone(t, store.Config{Dir: dir, JournalBytes: 1 << 20, CheckpointBytes: 100_000, Retention: picloud.Retention{MaxEvents: 10}})
	for i := range 30 {
		n.set(t, fmt.Sprint("k", i), fmt.Sprint(i), false)
	}
	n.set(t, "k7-poison", `"\u0000"`, false)
	n.set(t, "k8-poison", "\x00", true)
	for n.Stats().FirstLSN <= 50 {
		n.publish(t, "a", `"`+strings.Repeat("x", 50_000)+`"`)
	}
	n.stop()
	n = start(t, dir, url)
	n.publish(t, "a", `"behind"`)
	n.drained(t)
	same(t, pgtest.Query(t, url, "SELECT count(*) FROM picloud.kv"), []string{"30"})
	same(t, pgtest.Query(t, url, "SELECT kind, app, name FROM picloud.set_aside ORDER BY name"), []string{"kv default k7-poison", "kv default k8-poison"})
	want, key := contents(t, n), n.RecoveryKey()
	n.stop()
	restored, _ := restore(t, url, "pi", key, keepAll)
	got := contents(t, start(t, restored, ""))
	for name, w := range want {
		if strings.HasPrefix(name, "kv ") && got[name] != w {
			t.Errorf("%s is %s, it was %s", name, got[name], w)
		}
	}
}

// PG-2: texts that versions before have taken, and no database takes, hold up nothing.
func TestTextsOfFormerVersionsAreCopied(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	n := start(t, t.TempDir(), "")
	s := pgsync.New(pgsync.Config{URL: func() (string, error) { return url, nil }, Local: n.Store, Place: "here", Migrate: true})
	defer s.End()
	if _, err := s.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := time.Now().UTC().Truncate(time.Microsecond)
	var batch []picloud.Record
	for i, c := range []picloud.Change{
		{Kind: picloud.ChangeApp, App: "shop", Name: "shop", Value: picloud.App{Name: "shop", Description: "a\x00b", AllowedOrigins: []string{"http://\xff"}, CreatedAt: at, UpdatedAt: at}},
		{Kind: picloud.ChangeTopic, App: "shop", Name: "t", Value: picloud.Topic{App: "shop", Name: "t", Description: "\x00\xff", AuthMode: picloud.AuthToken, Durability: picloud.DurabilitySync, CreatedAt: at, UpdatedAt: at}},
		{Kind: picloud.ChangeAPIKey, Name: "k1", Value: picloud.APIKey{ID: "k1", Label: "l\x00", Scopes: []picloud.Scope{picloud.ScopeAppRead}, CreatedAt: at}},
		{Kind: picloud.ChangeFile, App: "shop", Name: "p", Value: picloud.File{App: "shop", Path: "p", Type: "a/b; c=\"\x00\"", CreatedAt: at, UpdatedAt: at}},
	} {
		batch = append(batch, picloud.Record{LSN: uint64(i + 1), Change: &c})
	}
	if err := s.Take(t.Context(), batch, uint64(len(batch))); err != nil {
		t.Fatal(err)
	}
	same(t, pgtest.Query(t, url, "SELECT description FROM picloud.apps UNION ALL SELECT description FROM picloud.topics UNION ALL SELECT label FROM picloud.api_keys"), []string{"a\ufffdb", "\ufffd\ufffd", "l\ufffd"})
}

// PG-5: what was copied before there were exact texts comes back equal; a thing that was
// set aside without its content is told, and hides nothing.
func TestCopyOfFormerVersionsIsRestored(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	n := start(t, t.TempDir(), url)
	n.set(t, "order", `{"bb":1,"a":[1,2]}`, false)
	n.publish(t, "a", `{"bb":1,"a":2}`)
	n.drained(t)
	key := n.RecoveryKey()
	n.stop()
	pgtest.Exec(t, url, `UPDATE picloud.kv SET exact = NULL; UPDATE picloud.events SET exact = NULL;
		INSERT INTO picloud.set_aside (node_id, epoch, lsn, kind, app, name, reason, body) SELECT id, epoch, 1, 'kv', 'default', 'order', 'r', '' FROM picloud.nodes`)
	dir, src := restore(t, url, "pi", key, keepAll)
	if src.SetAside != 1 {
		t.Errorf("%d are told to be lacking", src.SetAside)
	}
	n = start(t, dir, "")
	got := contents(t, n)
	for name, want := range map[string]string{"kv default order": `{"a":[1,2],"bb":1}`, "event default a 1": `{"a":2,"bb":1}`} {
		if text, _, _ := strings.Cut(got[name], " "); text != want {
			t.Errorf("%s is %.60s", name, text)
		}
	}
}
