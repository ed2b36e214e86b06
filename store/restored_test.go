package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// now is a time that rows may have.
var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// rebuilt makes a node of what a copy puts.
func rebuilt(t *testing.T, from store.Rebuilt, records ...picloud.Record) (dir string, err error) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "rebuilt")
	from.ID, from.Incarnation, from.RecoveryKey = "node", 2, []byte("key")
	from.Fill = func(put func(picloud.Record) error) error {
		for _, r := range records {
			if err := put(r); err != nil {
				return err
			}
		}
		return nil
	}
	from.HandOver = func(picloud.Node, uint64) error { return nil }
	_, err = store.Rebuild(t.Context(), store.Config{Dir: dir, ReserveBytes: -1, SegmentSize: 512 << 10}, from)
	return dir, err
}

func change(kind picloud.ChangeKind, app, name string, value any) picloud.Record {
	return picloud.Record{Change: &picloud.Change{Kind: kind, App: app, Name: name, Value: value}}
}

const blob = "abcdefghijklmnopqrstuvwxyz"

// emptySum is the SHA-256 of nothing.
const emptySum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// goodRows are rows of every kind that a restore takes.
func goodRows() map[string]picloud.Record {
	trigger := picloud.Trigger{App: "shop", Name: "t", ID: "abc", Kind: picloud.TriggerKV, Script: "s"}.WithDefaults()
	endpoint := picloud.Endpoint{App: "shop", Name: "e", ID: "abd", Script: "s", Path: "/x"}.WithDefaults()
	return map[string]picloud.Record{
		"app":         change(picloud.ChangeApp, "lab", "lab", picloud.App{Name: "lab"}),
		"topic":       change(picloud.ChangeTopic, "shop", "a", picloud.Topic{App: "shop", Name: "a"}.WithDefaults()),
		"API key":     change(picloud.ChangeAPIKey, "", "k1", picloud.APIKey{ID: "k1", App: "shop", Scopes: []picloud.Scope{picloud.ScopeAppRead}}),
		"signing key": change(picloud.ChangeSigningKey, "shop", "k1", picloud.SigningKey{ID: "k1", App: "shop", Secret: [32]byte{1}, CreatedAt: now}),
		"entry":       change(picloud.ChangeKV, "shop", "k", picloud.Entry{App: "shop", Key: "k", Value: []byte("1"), Version: 1}),
		"document":    change(picloud.ChangeDocument, "shop", "c\x00d", picloud.Document{App: "shop", Collection: "c", ID: "d", Body: []byte("{}"), Version: 1}),
		"collection":  change(picloud.ChangeCollection, "shop", "c", picloud.Collection{App: "shop", Name: "c", Indexes: []string{"a"}}),
		"file":        change(picloud.ChangeFile, "shop", "p", picloud.File{App: "shop", Path: "p", SHA256: emptySum, Version: 1, Blob: blob}),
		"script":      change(picloud.ChangeScript, "shop", "s", picloud.Script{App: "shop", Name: "s", Source: "//", Version: 3}),
		"trigger":     change(picloud.ChangeTrigger, "shop", "t", trigger),
		"endpoint":    change(picloud.ChangeEndpoint, "shop", "e", endpoint),
		"secret":      change(picloud.ChangeSecret, "shop", "x", picloud.Secret{App: "shop", Name: "x", Sealed: make([]byte, 40)}),
		"dead letter": change(picloud.ChangeDeadLetter, "shop", "l", picloud.DeadLetter{ID: "l", App: "shop", Trigger: "t", TriggerID: "abc", LSN: 1, What: picloud.Happening{Data: []byte(`{ "a" : 1 }`)}}),
		"event":       {Event: &picloud.Event{App: "shop", Topic: "a", Data: []byte("1"), Source: "local", Position: picloud.Position{Seq: 7}, PublishedAt: now}},
	}
}

var shop = change(picloud.ChangeApp, "shop", "shop", picloud.App{Name: "shop"})

// with returns a row after something of it was changed.
func with[T any](t *testing.T, kind string, fn func(v *T)) picloud.Record {
	t.Helper()
	r := goodRows()[kind]
	c := *r.Change
	v, ok := c.Value.(T)
	if !ok {
		t.Fatalf("%s is a %T", kind, c.Value)
	}
	fn(&v)
	c.Value = v
	return picloud.Record{Change: &c}
}

func event(fn func(e *picloud.Event)) picloud.Record {
	e := *goodRows()["event"].Event
	fn(&e)
	return picloud.Record{Event: &e}
}

// SR-6: what a copy in Postgres says passes the checks that a request of a client
// passes: names, sizes, limits, JSON, and that a row is of the app and the thing that
// it is filed under. One that does not is named, and nothing is restored.
func TestHostileRowIsRefused(t *testing.T) {
	t.Parallel()
	good := []picloud.Record{shop}
	for _, r := range goodRows() {
		good = append(good, r)
	}
	if _, err := rebuilt(t, store.Rebuilt{}, good...); err != nil {
		t.Fatalf("the rows that are to be spoilt: %v", err)
	}
	tooMany := []picloud.Record{shop}
	for i := range picloud.MaxSecrets + 1 {
		name := "x" + strings.Repeat("y", i%60) + string(rune('a'+i/60))
		tooMany = append(tooMany, change(picloud.ChangeSecret, "shop", name, picloud.Secret{App: "shop", Name: name}))
	}
	elsewhere := json.RawMessage(`{"app":"lab","name":"s","source":"//","version":1}`)
	for name, rows := range map[string][]picloud.Record{
		"content that leads elsewhere":    {shop, with(t, "file", func(f *picloud.File) { f.Blob = "../../etc/shadow" })},
		"absolute content":                {shop, with(t, "file", func(f *picloud.File) { f.Blob = "/etc/shadow" })},
		"content of a temporary file":     {shop, with(t, "file", func(f *picloud.File) { f.Blob += ".tmp.1" })},
		"content without a name":          {shop, with(t, "file", func(f *picloud.File) { f.Blob = "" })},
		"one content of two files":        {shop, goodRows()["file"], change(picloud.ChangeFile, "shop", "q", picloud.File{App: "shop", Path: "q", SHA256: emptySum, Version: 1, Blob: blob})},
		"negative size":                   {shop, with(t, "file", func(f *picloud.File) { f.Size = -1 })},
		"checksum":                        {shop, with(t, "file", func(f *picloud.File) { f.SHA256 = "../x" })},
		"path":                            {shop, change(picloud.ChangeFile, "shop", "../x", picloud.File{App: "shop", Path: "../x", SHA256: emptySum, Version: 1, Blob: blob})},
		"app that is not there":           {goodRows()["topic"]},
		"name of an app":                  {change(picloud.ChangeApp, "../x", "../x", picloud.App{Name: "../x"})},
		"app that says it is another":     {change(picloud.ChangeApp, "shop", "shop", picloud.App{Name: "lab"})},
		"script of another app":           {shop, goodRows()["app"], change(picloud.ChangeScript, "shop", "s", elsewhere)},
		"script that says it is another":  {shop, change(picloud.ChangeScript, "shop", "other", picloud.Script{App: "shop", Name: "s", Source: "//", Version: 1})},
		"name that reaches into another":  {shop, goodRows()["app"], change(picloud.ChangeKV, "shop", "k", picloud.Entry{App: "lab", Key: "k", Value: []byte("1"), Version: 1})},
		"not what it should be":           {shop, change(picloud.ChangeScript, "shop", "s", 7)},
		"kind of later":                   {shop, change("spell", "shop", "s", json.RawMessage("{}"))},
		"auth mode":                       {shop, with(t, "topic", func(x *picloud.Topic) { x.AuthMode = "session" })},
		"system topic":                    {shop, change(picloud.ChangeTopic, "shop", "$x", picloud.Topic{App: "shop", Name: "$x"}.WithDefaults())},
		"scope":                           {shop, with(t, "API key", func(k *picloud.APIKey) { k.Scopes = []picloud.Scope{"root"} })},
		"key of the instance with an app": {shop, with(t, "API key", func(k *picloud.APIKey) { k.Scopes = []picloud.Scope{picloud.ScopeInstanceAdmin} })},
		"signing key without a secret":    {shop, with(t, "signing key", func(k *picloud.SigningKey) { k.Secret = [32]byte{} })},
		"value that is no JSON":           {shop, with(t, "entry", func(e *picloud.Entry) { e.Value = []byte("{") })},
		"large value":                     {shop, with(t, "entry", func(e *picloud.Entry) { e.Value = []byte(`"` + strings.Repeat("x", picloud.MaxValue) + `"`) })},
		"version below zero":              {shop, with(t, "entry", func(e *picloud.Entry) { e.Version = math.MaxUint64 })},
		"no version":                      {shop, with(t, "document", func(d *picloud.Document) { d.Version = 0 })},
		"document that is none":           {shop, with(t, "document", func(d *picloud.Document) { d.Body = []byte("[]") })},
		"field":                           {shop, with(t, "collection", func(c *picloud.Collection) { c.Indexes = []string{"a..b"} })},
		"trigger without an id":           {shop, with(t, "trigger", func(x *picloud.Trigger) { x.ID = "" })},
		"id that reaches into another":    {shop, with(t, "trigger", func(x *picloud.Trigger) { x.ID = "a\x00b" })},
		"retries":                         {shop, with(t, "trigger", func(x *picloud.Trigger) { x.Retry.Attempts = 1 << 30 })},
		"trigger without its script":      {shop, goodRows()["trigger"]},
		"endpoint without its script":     {shop, goodRows()["endpoint"]},
		"path of an endpoint":             {shop, with(t, "endpoint", func(e *picloud.Endpoint) { e.Path = "x" })},
		"large secret":                    {shop, with(t, "secret", func(x *picloud.Secret) { x.Sealed = make([]byte, 1<<20) })},
		"too many":                        tooMany,
		"id of a letter":                  {shop, change(picloud.ChangeDeadLetter, "shop", "a\x00b", picloud.DeadLetter{ID: "a\x00b", App: "shop", Trigger: "t", TriggerID: "abc", LSN: 1})},
		"letter that is no JSON":          {shop, with(t, "dead letter", func(l *picloud.DeadLetter) { l.What.Data = []byte("{") })},
		"year":                            {shop, with(t, "script", func(s *picloud.Script) { s.UpdatedAt = time.Date(99_999, 1, 1, 0, 0, 0, 0, time.UTC) })},
		"event of no app":                 {goodRows()["event"]},
		"event of a state":                {shop, event(func(e *picloud.Event) { e.Topic = picloud.TopicNodeStats })},
		"topic of an event":               {shop, event(func(e *picloud.Event) { e.Topic = "a\nb" })},
		"event that is no JSON":           {shop, event(func(e *picloud.Event) { e.Data = []byte("1\n2") })},
		"large event":                     {shop, event(func(e *picloud.Event) { e.Data = []byte(`"` + strings.Repeat("x", picloud.LimitMaxData) + `"`) })},
		"source":                          {shop, event(func(e *picloud.Event) { e.Source = "a\nb" })},
		"sequence below zero":             {shop, event(func(e *picloud.Event) { e.Seq = math.MaxUint64 })},
		"sequence of nothing":             {shop, event(func(e *picloud.Event) { e.Seq = 0 })},
		"year of an event":                {shop, event(func(e *picloud.Event) { e.PublishedAt = time.Date(99_999, 1, 1, 0, 0, 0, 0, time.UTC) })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, err := rebuilt(t, store.Rebuilt{}, rows...)
			if err == nil {
				t.Fatal("it was restored")
			}
			if left, _ := os.ReadDir(dir); len(left) > 1 { // the lock
				t.Errorf("left after %v: %v", err, left)
			}
		})
	}
}

// SR-6: what versions before have taken and this one does not is brought into a form
// that it takes, rather than that a node cannot be restored.
func TestFormerTextsAreRestored(t *testing.T) {
	t.Parallel()
	dir, err := rebuilt(t, store.Rebuilt{},
		change(picloud.ChangeApp, "shop", "shop", picloud.App{Name: "shop", Description: "a\x00b"}),
		with(t, "topic", func(x *picloud.Topic) { x.Description = "\x00" }),
		with(t, "API key", func(k *picloud.APIKey) { k.Label = "l\x00" }),
		with(t, "file", func(f *picloud.File) { f.Type = "text/plain; x=\"\x00\"" }))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, store.Config{Dir: dir})
	a, _ := s.App("shop")
	k, _ := s.APIKey("k1")
	f, r, err := s.OpenFile("shop", "p")
	if err != nil || a.Description != "ab" || k.Label != "l" || f.Type != "application/octet-stream" {
		t.Errorf("%+v, %+v, %+v, %v", a, k, f, err)
	}
	_ = r.Close()
}

// SR-6: a file has the content it had, or none, which is told; a content that no file
// has is refused.
func TestRestoredContentIsTheOneTheFileHad(t *testing.T) {
	t.Parallel()
	file := with(t, "file", func(f *picloud.File) {
		f.Size, f.SHA256 = 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // of abc
	})
	for name, c := range map[string]struct {
		blob  string
		parts []string
		fails bool
		lacks int
	}{
		"whole":        {blob, []string{"ab", "c"}, false, 0},
		"cut":          {blob, []string{"ab"}, false, 1},
		"longer":       {blob, []string{"abc", strings.Repeat("d", 1<<20)}, false, 1},
		"another":      {blob, []string{"abd"}, false, 1},
		"none":         {blob, nil, false, 1},
		"of no file":   {strings.Repeat("b", 26), []string{"abc"}, true, 0},
		"outside":      {"../../../x", []string{"abc"}, true, 0},
		"of the state": {"../state.db", []string{"abc"}, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lacks := 0
			dir, err := rebuilt(t, store.Rebuilt{
				Contents: func(put func(string, []byte) error) error {
					for _, p := range c.parts {
						if err := put(c.blob, []byte(p)); err != nil {
							return err
						}
					}
					return nil
				},
				Lacking: func(picloud.File) { lacks++ },
			}, shop, file)
			if (err != nil) != c.fails || lacks != c.lacks {
				t.Fatalf("%v, %d are lacking", err, lacks)
			}
			if err != nil {
				return
			}
			s := start(t, store.Config{Dir: dir})
			_, r, err := s.OpenFile("shop", "p")
			if c.lacks > 0 {
				if !errors.Is(err, picloud.ErrFileLost) || len(onDisk(t, dir)) != 0 {
					t.Errorf("%v, and there is %v", err, onDisk(t, dir))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(r); !bytes.Equal(b, []byte("abc")) || err != nil {
				t.Errorf("%q, %v", b, err)
			}
			_ = r.Close()
		})
	}
}
