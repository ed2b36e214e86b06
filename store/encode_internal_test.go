package store

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

var update = flag.Bool("update", false, "write testdata/rows.golden anew")

// What lies on the cards of the world must be readable for ever: every kind of
// row and record is pinned byte by byte, in both directions.
func TestEncodingsAreThoseOnTheDisk(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 30, 15, 123456000, time.UTC)
	rows := []struct {
		name string
		row  any
	}{
		{"app", appRow{App: picloud.App{Name: "shop", Description: "d", AllowedOrigins: []string{"https://x.example"}, CreatedAt: at, UpdatedAt: at}, Born: 7}},
		{"app of an incarnation", appRow{App: picloud.App{Name: "shop", CreatedAt: at, UpdatedAt: at}, Born: 7, Incarnation: 9}},
		{"topic", picloud.Topic{
			App: "shop", Name: "a/b", Description: "d", External: true, AuthMode: picloud.AuthToken, Durability: picloud.DurabilitySync,
			Retention: picloud.Retention{MaxEvents: 1, MaxAge: time.Hour, MaxBytes: 3}, CreatedAt: at, UpdatedAt: at,
		}},
		{"API key", picloud.APIKey{ID: "k", Hash: [32]byte{1, 2}, App: "shop", Scopes: []picloud.Scope{picloud.ScopeAppRead}, Label: "l", CreatedAt: at, ExpiresAt: at, LastUsedAt: at}},
		{"signing key", picloud.SigningKey{ID: "s", App: "shop", Secret: [32]byte{3, 4}, CreatedAt: at, RetiresAt: at, EndsOlder: at}},
		{"floor, sequence or anchor", uint64(300)},
		{"idempotency key", idemRow{Print: fingerprint{1}, First: 9, Count: 2, At: at.UnixMicro(), Source: "key:k"}},
		{"cursor", cursorRow{LSN: 70, Marks: []mark{{LSN: 60, At: 5}, {LSN: 70, At: at.UnixMicro()}}}},
		{"clock", clockRow{Started: at}},
		{"script", picloud.Script{App: "shop", Name: "door", Source: "export default () => 1", Version: 3, UpdatedAt: at}},
		{"run", picloud.Run{
			ID: "10", App: "shop", Script: "door", Version: 3, Cause: "trigger:t", Delivery: "d", Attempt: 2, StartedAt: at, Duration: time.Second, Outcome: "error",
			Error: "e", Stack: "s", Lines: []picloud.RunLine{{At: at, Level: "info", Text: "x"}}, Truncated: true,
		}},
		{"trigger", picloud.Trigger{
			App: "shop", Name: "t", ID: "i", Kind: picloud.TriggerCron, Script: "door", Export: "x", Enabled: true, Topic: "a", Prefix: "b", Collection: "c",
			Schedule: "@daily", TimeZone: "UTC", CatchUp: picloud.CatchUpOne, Source: "s", Retry: picloud.Retry{Attempts: 1, First: 2, Max: 3}, Timeout: 4,
			Concurrency: 5, Ordered: true, CreatedAt: at, UpdatedAt: at,
		}},
		{"collection", collectionRow{Collection: picloud.Collection{App: "shop", Name: "c", Indexes: []string{"a.b"}, CreatedAt: at, UpdatedAt: at}, Indexes: []indexRow{{ID: 9, Field: "a.b", Built: "x", Ready: true, Dropping: true}}}},
		{"endpoint", picloud.Endpoint{App: "shop", Name: "e", ID: "i", Method: "GET", Path: "/a/{b}", Script: "s", Export: "x", Auth: picloud.EndpointKey, Timeout: 5, CreatedAt: at, UpdatedAt: at}},
		{"secret", picloud.Secret{App: "shop", Name: "s", Sealed: []byte{1, 2}, UpdatedAt: at}},
		{"file", picloud.File{App: "shop", Path: "a/b", Type: "t/u", Size: 5, SHA256: "0f", Version: 3, CreatedAt: at, UpdatedAt: at, Blob: "x"}},
		{"result", resultRow{State: "done", Output: []byte("1"), Expires: at.UnixMicro(), Response: true}},
		{"result of an anonymous caller", resultRow{State: "waiting", Expires: at.UnixMicro(), Anonymous: true, Held: 5}},
		{"delivery", deadLetterOf(at).What},
		{"attempt", attemptRow{Attempts: 2, NotUntil: at.UnixMicro(), Errors: []string{"e"}}},
		{"incident", Incident{ID: "i", Text: "t", At: at, AcknowledgedAt: at}},
		{"tick", tickRow{Last: at.UnixMicro(), Run: true}},
		{"dead letter", deadLetterRow{Letter: deadLetterOf(at), Version: 2}},
		{"dead letter that others made room for", deadLetterRow{Letter: deadLetterOf(at), Version: 1, Dropped: 3}},
		{"checkpoint", checkpointMeta{Version: 1}},
	}
	var out strings.Builder
	for _, r := range rows {
		b := cborEncode(r.row)
		fmt.Fprintf(&out, "%s\n  %s\n", r.name, hex.EncodeToString(b))
		back := reflect.New(reflect.TypeOf(r.row))
		if err := cborDecode(b, back.Interface()); err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
		if !reflect.DeepEqual(back.Elem().Interface(), r.row) {
			t.Errorf("%s comes back as %+v", r.name, back.Elem().Interface())
		}
	}
	event := eventBody{source: "key:k", idem: "i", print: fingerprint{5}, count: 2, data: []byte(`{"n":1}`)}
	fmt.Fprintf(&out, "event\n  %s\n", hex.EncodeToString(event.append(nil)))
	stamped := eventBody{stamp: &picloud.Stamp{Boot: "b", Started: at}, source: "local", data: []byte("1")}
	fmt.Fprintf(&out, "event stamped by a clock that could not be believed\n  %s\n", hex.EncodeToString(stamped.append(nil)))
	for _, e := range []entryRow{
		{Value: []byte("1"), Version: 1 << 50, Updated: at.UnixMicro(), Expires: at.UnixMicro()},
		{Value: []byte{0, 255}, Binary: true, Version: 1 << 50, Updated: at.UnixMicro()},
	} {
		fmt.Fprintf(&out, "entry\n  %s\n", hex.EncodeToString(e.encode()))
		if back, err := decodeEntryRow(e.encode()); err != nil || !reflect.DeepEqual(back, e) {
			t.Errorf("an entry comes back as %+v, %v", back, err)
		}
	}
	d := docRow{Body: []byte("{}"), Version: 1 << 50, Created: 5, Updated: at.UnixMicro()}
	fmt.Fprintf(&out, "document\n  %s\n", hex.EncodeToString(d.encode()))
	if back, err := decodeDocRow(d.encode()); err != nil || !reflect.DeepEqual(back, d) {
		t.Errorf("a document comes back as %+v, %v", back, err)
	}
	w := waitingRow{order: 1 << 30, at: 5}
	fmt.Fprintf(&out, "row put\n  %s\n", hex.EncodeToString(change{table: tableApp, key: []byte("shop"), value: []byte("v")}.append(nil)))
	fmt.Fprintf(&out, "row deleted\n  %s\n", hex.EncodeToString(change{table: tableApp, key: []byte("shop")}.append(nil)))

	fmt.Fprintf(&out, "waiting delivery\n  %s\n", hex.EncodeToString(w.encode()))
	if back, err := decodeWaitingRow(w.encode()); err != nil || back != w {
		t.Errorf("a waiting delivery comes back as %+v, %v", back, err)
	}
	step := []stepped{{lsn: 300, row: w}, {lsn: 301, row: waitingRow{order: 1}}}
	fmt.Fprintf(&out, "step of a trigger that is behind\n  %s\n", hex.EncodeToString(encodeStep(step)))
	if back, err := decodeStep(encodeStep(step)); err != nil || !reflect.DeepEqual(back, step) {
		t.Errorf("a step comes back as %+v, %v", back, err)
	}
	for _, r := range []any{
		behindRow{Next: 7, Past: []pastFilter{{Until: 9, Enabled: true, Topic: "a", Prefix: "b", Collection: "c", Source: "d"}}}, givenUpRow{Below: 8, Count: 3},
	} {
		fmt.Fprintf(&out, "%T\n  %s\n", r, hex.EncodeToString(cborEncode(r)))
	}
	hopped := eventBody{hops: 3, source: "s", data: []byte("1")}
	fmt.Fprintf(&out, "event that deliveries led to\n  %s\n", hex.EncodeToString(hopped.append(nil)))

	for _, r := range []any{
		idemRow{Print: fingerprint{1}, First: 9, Count: 2, At: 5, Source: "key:k", Guessed: true},
		clockRow{Started: at, Guessed: []guessRange{{First: 7, Last: 9, Began: 5, Off: at.UnixMicro()}, {First: 12, Began: 6}}},
		idemPeriod{Number: 20_000, Began: at.UnixMicro(), Boot: "b", Up: 5},
	} {
		fmt.Fprintf(&out, "%T since clocks are not believed\n  %s\n", r, hex.EncodeToString(cborEncode(r)))
	}

	const golden = "testdata/rows.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("the encoding has changed; a node could not read what it wrote before\ngot\n%s\nwant\n%s", out.String(), want)
	}
}

func deadLetterOf(at time.Time) picloud.DeadLetter {
	return picloud.DeadLetter{
		ID: "l", App: "shop", Trigger: "t", TriggerID: "i", Delivery: "d", LSN: 7, Attempts: 8, Reason: "r", CreatedAt: at, HandledBy: []string{"j"},
		Notes: []picloud.LetterNote{{At: at, Trigger: "u", Text: "n"}},
		What: picloud.Happening{
			Kind: picloud.TriggerDocs, At: at, Name: "n", Container: "c", Position: "p", Source: "s", Data: []byte("1"), Binary: true, Deleted: true, Version: 9,
		},
	}
}

// Whatever lies in a record's body: it is refused, or it is what is written for
// what was read.
func FuzzRecordBodies(f *testing.F) {
	f.Add([]byte("shop\x00a/b"), (&eventBody{source: "s", idem: "i", count: 1, data: []byte("1")}).append(nil))
	f.Add([]byte("shop\x00t"), (&eventBody{data: []byte("null")}).append(nil))
	f.Add([]byte("shop\x00t"), (&eventBody{stamp: &picloud.Stamp{Boot: "b"}, data: []byte("null")}).append(nil))
	f.Add([]byte("shop\x00t"), (&eventBody{hops: 3, stamp: &picloud.Stamp{Boot: "b"}, data: []byte("null")}).append(nil))
	f.Add([]byte{}, waitingRow{order: 2, at: 3}.encode())
	f.Add([]byte{}, encodeStep([]stepped{{lsn: 300, row: waitingRow{order: 1}}, {lsn: 1 << 60}}))
	f.Add([]byte{}, change{table: tableTopic, key: []byte("k"), value: []byte("v")}.append(nil))
	f.Add([]byte{}, change{table: tableTopic, key: []byte("k")}.append(nil))
	f.Add([]byte{}, (&entryRow{Value: []byte("1"), Version: 3, Updated: 4, Expires: 5}).encode())
	f.Fuzz(func(t *testing.T, key, body []byte) {
		if e, err := parseEventBody(body); err == nil {
			again, err := parseEventBody(e.append(nil))
			if err != nil || !reflect.DeepEqual(again, e) {
				t.Errorf("%+v comes back as %+v, %v", e, again, err)
			}
		}
		if e, err := decodeEntryRow(body); err == nil && !bytes.Equal(e.encode(), body) {
			t.Errorf("%x comes back as %x", body, e.encode())
		}
		if w, err := decodeWaitingRow(body); err == nil && !bytes.Equal(w.encode(), body) {
			t.Errorf("%x comes back as %x", body, w.encode())
		}
		if step, err := decodeStep(body); err == nil {
			if again, err := decodeStep(encodeStep(step)); err != nil || !slices.Equal(again, step) {
				t.Errorf("%+v comes back as %+v, %v", step, again, err)
			}
		}
		if c, err := parseChange(body); err == nil {
			again, err := parseChange(c.append(nil))
			if err != nil || again.table != c.table || !bytes.Equal(again.key, c.key) || !bytes.Equal(again.value, c.value) || (again.value == nil) != (c.value == nil) {
				t.Errorf("%+v comes back as %+v, %v", c, again, err)
			}
			sequences := func(string) *sequence { return &sequence{} }
			for tb := range table(maxTables) {
				if c.table = tb; !tb.known() {
					continue
				}
				catalog := newCatalog(sequences)
				catalog.triggers().Set("a\x00t", picloud.Trigger{App: "a", Kind: picloud.TriggerKV, Enabled: true})
				_, _ = catalog.apply(c, stateBefore{catalog: catalog, get: func(table, []byte) []byte { return nil }, tables: newTables(nil, maxWaiting)}, &cause{lsn: 7, at: 8})
				_, _ = changeOf(c) // neither may panic
			}
		}
		_, _ = parseEvent(1, &journal.Record{Key: key, Body: body}) // must not panic
	})
}
