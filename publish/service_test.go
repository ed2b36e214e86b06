package publish_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/publish"
	"github.com/picloud/picloud/store"
)

// openStore returns a running store with the apps default and shop.
func openStore(tb testing.TB) *store.Store {
	tb.Helper()
	s, err := store.Open(store.Config{Dir: tb.TempDir(), NodeName: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			tb.Error(err)
		}
	})
	if _, err := s.CreateApp(ctx, picloud.App{Name: "shop"}); err != nil {
		tb.Fatal(err)
	}
	return s
}

var shopkeeper = picloud.Principal{Kind: picloud.KindKey, Name: "k1", App: "shop", Scopes: []picloud.Scope{picloud.ScopeAppPublish}}

func one(topic, data string) picloud.Publication {
	return picloud.Publication{App: "shop", By: shopkeeper, Drafts: []picloud.Draft{{Topic: topic, Data: []byte(data)}}}
}

// history returns everything that is stored of shop.
func history(t *testing.T, s *store.Store, topics ...string) []picloud.Event {
	t.Helper()
	page, err := s.Events(t.Context(), picloud.HistoryQuery{App: "shop", Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	return page.Events
}

// PB-1, TP-1: what is valid is stored, compacted, under an unregistered topic.
func TestPublishStoresCompactData(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	p := publish.New(publish.Config{Committer: s})
	sent := []byte(" {\"a\" : [1, 2 ,\n\t3], \"b\":\"x  y\\n\u2028\"}\r\n")
	events, err := p.Publish(t.Context(), picloud.Publication{App: "shop", By: shopkeeper, Drafts: []picloud.Draft{{Topic: "stock/a", Data: sent}}})
	if err != nil {
		t.Fatal(err)
	}
	clear(sent) // the caller's buffer is reused
	want := "{\"a\":[1,2,3],\"b\":\"x  y\\n\u2028\"}"
	if got := string(events[0].Data); got != want {
		t.Errorf("answered %s, want %s", got, want)
	}
	stored := history(t, s, "stock/a")
	if len(stored) != 1 || string(stored[0].Data) != want || stored[0].Source != "key:k1" || stored[0].Durability != picloud.DurabilityLocal {
		t.Errorf("stored %+v", stored)
	}
}

// PB-5: a batch is one commit, in the order of its drafts.
func TestPublishKeepsTheOrderOfABatch(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	p := publish.New(publish.Config{Committer: s})
	drafts := make([]picloud.Draft, picloud.MaxBatch)
	for i := range drafts {
		drafts[i] = picloud.Draft{Topic: "t", Data: fmt.Append(nil, i)}
	}
	events, err := p.Publish(t.Context(), picloud.Publication{App: "shop", By: shopkeeper, Drafts: drafts})
	if err != nil {
		t.Fatal(err)
	}
	stored := history(t, s, "t")
	if len(events) != picloud.MaxBatch || len(stored) != picloud.MaxBatch {
		t.Fatalf("%d answered, %d stored", len(events), len(stored))
	}
	for i, e := range stored {
		if string(e.Data) != fmt.Sprint(i) || e.Position != events[i].Position {
			t.Fatalf("event %d is %s at %v", i, e.Data, e.Position)
		}
	}
}

// PB-4, TP-2: each fault has its own error that says what to do, and nothing is
// stored.
func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	p := publish.New(publish.Config{Committer: s, MaxData: 1000})
	ok := picloud.Draft{Topic: "ok", Data: []byte("1")}
	batch := func(drafts ...picloud.Draft) picloud.Publication {
		return picloud.Publication{App: "shop", By: shopkeeper, Drafts: drafts}
	}
	by := func(who picloud.Principal, app string) picloud.Publication {
		q := one("ok", "1")
		q.By, q.App = who, app
		return q
	}
	idem := func(key string) picloud.Publication {
		q := one("ok", "1")
		q.IdempotencyKey = key
		return q
	}
	reader := shopkeeper
	reader.Scopes = []picloud.Scope{picloud.ScopeAppRead, picloud.ScopeAppWrite, picloud.ScopeAppInvoke}
	operator := picloud.LocalOperator()
	big := picloud.Draft{Topic: "ok", Data: []byte(`"` + strings.Repeat("x", 998) + `"`)}

	for name, tc := range map[string]struct {
		p    picloud.Publication
		want *picloud.Error
		says string
	}{
		"anonymous":                 {by(picloud.Principal{}, "shop"), picloud.ErrUnauthenticated, ""},
		"anonymous, no such app":    {by(picloud.Principal{}, "nope"), picloud.ErrUnauthenticated, ""},
		"key of another app":        {by(shopkeeper, "default"), picloud.ErrAppNotFound, ""},
		"wrong scopes":              {by(reader, "shop"), picloud.ErrForbidden, "app:publish"},
		"no such app":               {by(operator, "nope"), picloud.ErrAppNotFound, ""},
		"no app":                    {by(operator, ""), picloud.ErrAppNotFound, ""},
		"no drafts":                 {batch(), picloud.ErrBatchInvalid, "send 1 to 1000"},
		"1001 drafts":               {batch(slices.Repeat([]picloud.Draft{ok}, 1001)...), picloud.ErrBatchInvalid, "at most 1000"},
		"empty topic":               {one("", "1"), picloud.ErrTopicNameInvalid, "empty"},
		"topic with a star":         {one("a/*", "1"), picloud.ErrTopicNameInvalid, "'*' is reserved"},
		"topic with a space":        {one("a b", "1"), picloud.ErrTopicNameInvalid, "byte 2"},
		"topic of 129 bytes":        {one(strings.Repeat("x", 129), "1"), picloud.ErrTopicNameInvalid, "129 bytes"},
		"system topic":              {one("$board/power", "1"), picloud.ErrTopicReserved, "'$'"},
		"empty body":                {one("ok", ""), picloud.ErrDataInvalid, "no data"},
		"blank body":                {one("ok", " \n"), picloud.ErrDataInvalid, "no data"},
		"bare word":                 {one("ok", "hello"), picloud.ErrDataInvalid, "byte 1"},
		"two values":                {one("ok", "1 2"), picloud.ErrDataInvalid, "byte 3"},
		"cut short":                 {one("ok", `{"a":`), picloud.ErrDataInvalid, "unexpected end"},
		"single quotes":             {one("ok", `{'a':1}`), picloud.ErrDataInvalid, "byte 2"},
		"trailing comma":            {one("ok", `[1,]`), picloud.ErrDataInvalid, "byte 4"},
		"NaN":                       {one("ok", `NaN`), picloud.ErrDataInvalid, "byte 1"},
		"raw line break in string":  {one("ok", "\"a\nb\""), picloud.ErrDataInvalid, "byte 3"},
		"NUL":                       {one("ok", "1\x00"), picloud.ErrDataInvalid, "byte 2"},
		"byte order mark":           {one("ok", "\xef\xbb\xbf1"), picloud.ErrDataInvalid, "byte order mark"},
		"UTF-16":                    {one("ok", "\xff\xfe1\x00"), picloud.ErrDataInvalid, "byte 1 is not UTF-8"},
		"Latin-1":                   {one("ok", "\"\xe9\""), picloud.ErrDataInvalid, "byte 2 is not UTF-8"},
		"129 deep":                  {one("ok", strings.Repeat("[", 129)+strings.Repeat("]", 129)), picloud.ErrDataInvalid, "flatter"},
		"over the limit":            {one("ok", `"`+strings.Repeat("x", 999)+`"`), picloud.ErrDataTooLarge, "1001 bytes"},
		"idempotency key too long":  {idem(strings.Repeat("x", 256)), picloud.ErrIdempotencyInvalid, "256 bytes"},
		"idempotency key, space":    {idem("a b"), picloud.ErrIdempotencyInvalid, "byte 2"},
		"idempotency key, umlaut":   {idem("ü"), picloud.ErrIdempotencyInvalid, "byte 1"},
		"idempotency key, DEL":      {idem("\x7f"), picloud.ErrIdempotencyInvalid, "byte 1"},
		"bad topic in a batch":      {batch(ok, ok, picloud.Draft{Topic: "*", Data: []byte("1")}), picloud.ErrTopicNameInvalid, "event [2]"},
		"bad data in a batch":       {batch(ok, picloud.Draft{Topic: "ok", Data: []byte("{")}, ok), picloud.ErrDataInvalid, "event [1]"},
		"too large in a batch":      {batch(ok, picloud.Draft{Topic: "ok", Data: make([]byte, 1001)}), picloud.ErrDataTooLarge, "event [1]"},
		"system topic in a batch":   {batch(picloud.Draft{Topic: "$x", Data: []byte("1")}, ok), picloud.ErrTopicReserved, "event [0]"},
		"no drafts, wrong app":      {picloud.Publication{App: "default", By: shopkeeper}, picloud.ErrAppNotFound, ""},
		"operator, system's topic":  {picloud.Publication{App: "shop", By: operator, Drafts: []picloud.Draft{{Topic: "$a", Data: []byte("1")}}}, picloud.ErrTopicReserved, ""},
		"system, star":              {picloud.Publication{App: "shop", By: picloud.System(), Drafts: []picloud.Draft{{Topic: "$*", Data: []byte("1")}}}, picloud.ErrTopicNameInvalid, ""},
		"system, a state":           {picloud.Publication{App: "shop", By: picloud.System(), Drafts: []picloud.Draft{{Topic: "$node/stats", Data: []byte("1")}}}, picloud.ErrTopicReserved, "state"},
		"operator, a state":         {picloud.Publication{App: "shop", By: operator, Drafts: []picloud.Draft{{Topic: "$node/stats", Data: []byte("1")}}}, picloud.ErrTopicReserved, "state"},
		"a thousand large (ok one)": {batch(append(slices.Repeat([]picloud.Draft{big}, 999), ok, ok)...), picloud.ErrBatchInvalid, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			events, err := p.Publish(t.Context(), tc.p)
			e := picloud.AsError(err)
			if !errors.Is(err, tc.want) || !strings.Contains(e.Detail, tc.says) || len(events) > 0 {
				t.Fatalf("err = %v, want %s that says %q", err, tc.want.Type, tc.says)
			}
			if diff := cmp.Diff(err.Error(), p.Check(tc.p).Error()); diff != "" {
				t.Errorf("Check disagrees with Publish: %s", diff)
			}
			if head, err := s.Head("shop"); err != nil || head.Seq != 0 {
				t.Fatalf("something was stored: %v, %v", head, err)
			}
		})
	}
}

func TestBatchBytesAreBounded(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	p := publish.New(publish.Config{Committer: s})
	large := picloud.Draft{Topic: "t", Data: []byte(`"` + strings.Repeat("x", picloud.DefaultMaxData-2) + `"`)}
	full := picloud.Publication{App: "shop", By: shopkeeper, Drafts: slices.Repeat([]picloud.Draft{large}, 4)}
	if _, err := p.Publish(t.Context(), full); err != nil {
		t.Fatalf("four events of the largest size: %v", err)
	}
	full.Drafts = append(full.Drafts, large)
	if _, err := p.Publish(t.Context(), full); !errors.Is(err, picloud.ErrDataTooLarge) {
		t.Errorf("err = %v, want ErrDataTooLarge", err)
	}
	if n := len(history(t, s, "t")); n != 4 {
		t.Errorf("%d events are stored, want 4", n)
	}
}

func TestLimitsOfOneEventAreAccepted(t *testing.T) {
	t.Parallel()
	p := publish.New(publish.Config{Committer: openStore(t), MaxData: picloud.LimitMaxData})
	for name, q := range map[string]picloud.Publication{
		"1 MiB":              one("t", `"`+strings.Repeat("x", picloud.LimitMaxData-2)+`"`),
		"128 deep":           one("t", strings.Repeat("[", 128)+strings.Repeat("]", 128)),
		"brackets in string": one("t", `"`+strings.Repeat(`[\"{\\`, 200)+`"`),
		"topic of 128":       one(strings.Repeat("x", 128), "null"),
		"number":             one("t", "-1.5e3"),
		"emoji":              one("t", `"🥧"`),
		"lone surrogate":     one("t", `"\ud800"`),
		"same name twice":    one("t", `{"a":1,"a":2}`),
	} {
		if _, err := p.Publish(t.Context(), q); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The system alone publishes to its topics.
func TestSystemPublishesToSystemTopics(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	q := one("$node/sync", `{"state":"waiting"}`)
	q.By = picloud.System()
	if _, err := publish.New(publish.Config{Committer: s}).Publish(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	if got := history(t, s, "$node/sync"); len(got) != 1 || got[0].Source != "system" {
		t.Errorf("stored %+v", got)
	}
}

// PB-4: a repeated Idempotency-Key answers the first result again, and a
// difference in white space is no difference.
func TestRepeatedKeyAnswersTheFirstResult(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	p := publish.New(publish.Config{Committer: s})
	first, second, other := one("t", `{"a":1}`), one("t", ` {"a": 1} `), one("t", `{"a":2}`)
	first.IdempotencyKey, second.IdempotencyKey, other.IdempotencyKey = "k", "k", "k"
	a, err := p.Publish(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Publish(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
	if _, err := p.Publish(t.Context(), other); !errors.Is(err, picloud.ErrIdempotencyReused) {
		t.Errorf("err = %v, want ErrIdempotencyReused", err)
	}
	if n := len(history(t, s, "t")); n != 1 {
		t.Errorf("%d events are stored, want 1", n)
	}
}

// An ended context is not a fault of the publication.
func TestEndedContextIsReported(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := publish.New(publish.Config{Committer: openStore(t)}).Publish(ctx, one("t", "1"))
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want context.Canceled or none", err)
	}
}

// keep is a committer that keeps what it is given.
type keep struct{ got picloud.Publication }

func (k *keep) App(name string) (picloud.App, error) { return picloud.App{Name: name}, nil }

func (k *keep) Publish(_ context.Context, p picloud.Publication) ([]picloud.Event, error) {
	k.got = p
	return nil, nil
}

// FuzzPublish: whatever is accepted is one compact line of JSON that means the
// same as what was sent.
func FuzzPublish(f *testing.F) {
	for _, seed := range []string{"", "null", ` { "a" : [ 1 , "\n" ] } `, "1 2", `"\u2028"`, "[[[[", "\xef\xbb\xbf1", `{"a":1,"a":{}}`, "1e999", "\"\xff\""} {
		f.Add("t", seed)
	}
	f.Add("$x", "1")
	f.Add("a/b", "1")
	f.Fuzz(func(t *testing.T, topic, data string) {
		k := &keep{}
		if _, err := publish.New(publish.Config{Committer: k}).Publish(t.Context(), one(topic, data)); err != nil {
			if e := picloud.AsError(err); e == nil || e.Detail == "" {
				t.Fatalf("refused without saying what to do: %v", err)
			}
			return
		}
		d := k.got.Drafts[0]
		if check.TopicName(d.Topic) != nil || bytes.ContainsAny(d.Data, "\r\n") || !utf8.Valid(d.Data) || !json.Valid(d.Data) {
			t.Fatalf("accepted %q under %q", d.Data, d.Topic)
		}
		var sent, kept any
		a, b := json.Unmarshal([]byte(data), &sent), json.Unmarshal(d.Data, &kept)
		if (a == nil) != (b == nil) || !cmp.Equal(sent, kept) {
			t.Fatalf("%q became %q", data, d.Data)
		}
	})
}

// BenchmarkCheck is the cost of the door alone, without the disk.
func BenchmarkCheck(b *testing.B) {
	s := publish.New(publish.Config{Committer: &keep{}})
	q := one("stock/a", `{"sensor":"kitchen","temperature":21.375,"humidity":44.2,"pressure":1013.25,"battery":3.71,"seq":12345}`)
	b.SetBytes(int64(len(q.Drafts[0].Data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Publish(b.Context(), q); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPublish goes through to the disk, 64 publishers at a time.
func BenchmarkPublish(b *testing.B) {
	s := publish.New(publish.Config{Committer: openStore(b)})
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		q := one("stock/a", `{"sensor":"kitchen","temperature":21.375,"humidity":44.2,"pressure":1013.25,"battery":3.71,"seq":12345}`)
		for pb.Next() {
			if _, err := s.Publish(b.Context(), q); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
