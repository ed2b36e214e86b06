package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// fixtureNode writes what formats are tested with: a node of the app shop with every
// kind of row, in a directory that a killed process leaves. What it writes is the
// same each time but for ids and keys, and what fixtureContent expects.
type fixtureNode struct {
	*running

	t     *testing.T
	clock *testClock
	cfg   store.Config
	knows atomic.Bool // the clock is right
}

// fixtureConfig is how fixtures are written and opened: small segments, and a reader
// to whom the journal is owed.
func fixtureConfig(dir string, clock *testClock) store.Config {
	return store.Config{
		Dir: dir, Now: clock.Now, Readers: []string{picloud.Central}, SegmentSize: 64 << 10, JournalBytes: 500 << 10, CheckpointBytes: 100 << 10, MaxWaiting: 4,
	}
}

// writeFixture writes the archives of a fixture: the directory, and a backup.
func writeFixture(t *testing.T, to string) {
	t.Helper()
	n := &fixtureNode{t: t, clock: newTestClock()}
	n.cfg = fixtureConfig(t.TempDir(), n.clock)
	n.boot("boot-1")
	n.flood(func(int) bool { return n.Stats().FirstLSN > 1 }) // the oldest segments go, behind what repeats the catalog
	n.declare()
	n.fill()
	n.run()
	n.flood(func(i int) bool { return i == 8 }) // what was written is in a complete segment
	n.publish("flood", `"the last"`)
	n.stop(t)

	n.boot("boot-2") // there is a checkpoint, and the note of a stop
	n.after()
	var backup bytes.Buffer
	n.must(n.Backup(t.Context(), &backup))
	n.must(os.MkdirAll(to, 0o750))
	n.must(os.WriteFile(filepath.Join(to, "backup.tar.gz"), backup.Bytes(), 0o600))
	packDir(t, killed(t, n.running, n.cfg.Dir), filepath.Join(to, "data.tar.gz"))
}

func (n *fixtureNode) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
	n.clock.move(time.Second)
}

func (n *fixtureNode) publish(topic string, data ...string) {
	n.t.Helper()
	publish(n.t, n.running, "default", topic, data...)
	n.clock.move(time.Second)
}

// boot starts the node on a board that learns after its first event what time it is.
func (n *fixtureNode) boot(name string) {
	n.knows.Store(false)
	n.cfg.Clock = func() store.Clock { return store.Clock{Synced: n.knows.Load(), Boot: name, Uptime: time.Minute} }
	n.running = start(n.t, n.cfg)
	n.publish("strange", `"`+name+`"`)
	n.knows.Store(true)
	n.publish("strange", `"and on time"`)
}

// declare makes what is held in memory as a whole: apps, topics, keys, triggers.
func (n *fixtureNode) declare() {
	ctx := n.t.Context()
	_, err := n.CreateApp(ctx, picloud.App{Name: "shop", Description: "A shop.", AllowedOrigins: []string{"https://shop.example"}})
	n.must(err)
	for _, topic := range []picloud.Topic{
		{Name: "orders", Description: "What was ordered.", External: true, AuthMode: picloud.AuthToken, Retention: picloud.Retention{MaxEvents: 100}},
		{Name: "load", Durability: picloud.DurabilityTelemetry},
		{Name: "old"},
	} {
		topic.App = "shop"
		_, err := n.CreateTopic(ctx, topic)
		n.must(err)
	}
	_, err = n.CreateAPIKey(ctx, picloud.APIKey{ID: "key1", App: "shop", Label: "till", Scopes: []picloud.Scope{picloud.ScopeAppPublish}, Hash: [32]byte{1, 2, 3}})
	n.must(err)
	n.TouchAPIKey("key1", n.clock.Now())
	_, err = n.EnsureSigningKey(ctx, "shop")
	n.must(err)
	_, err = n.RotateSigningKey(ctx, "shop", time.Hour)
	n.must(err)
	n.must(n.ShareKeys(ctx, append(n.SigningKeys("shop"), picloud.SigningKey{ID: "other", App: "shop", Secret: [32]byte{7}, CreatedAt: n.clock.Now()}), nil))
	n.must(n.Book(map[string]time.Time{"x.tmp.1": n.clock.Now()}))
	n.Incident("nothing was lost")
	_, err = n.AckIncidents(ctx)
	n.must(err)
	n.must(n.SetNote(ctx, "fixture", []byte("a note")))
	for _, source := range []string{"// the first\n", "export default () => 1\n"} {
		_, err = n.SaveScript(ctx, picloud.Script{App: "shop", Name: "till", Source: source}, picloud.Precondition{})
		n.must(err)
	}
	for _, tr := range []picloud.Trigger{
		{Name: "on-order", Kind: picloud.TriggerPubSub, Topic: "orders"},
		{Name: "nightly", Kind: picloud.TriggerCron, Schedule: "@daily", TimeZone: "Europe/Berlin"},
		{Name: "on-dead", Kind: picloud.TriggerDeadLetter, Source: "on-order"},
	} {
		tr.App, tr.Script, tr.Enabled = "shop", "till", true
		_, err = n.SaveTrigger(ctx, tr)
		n.must(err)
	}
	_, err = n.SaveEndpoint(ctx, picloud.Endpoint{App: "shop", Name: "order", Method: "POST", Path: "/orders/{id}", Script: "till", Auth: picloud.EndpointPublic})
	n.must(err)
	_, err = n.SaveCollection(ctx, picloud.Collection{App: "shop", Name: "customers", Indexes: []string{"name", "address.city"}})
	n.must(err)
}

// fill makes what apps keep.
func (n *fixtureNode) fill() {
	ctx := n.t.Context()
	for _, c := range []picloud.EntryChange{
		{Key: "open", Value: []byte("true")},
		{Key: "picture", Value: []byte{0, 1, 255}, Binary: true},
		{Key: "offer", Value: []byte(`"half price"`), TTL: 90 * 24 * time.Hour},
		{Key: "closed", Value: []byte("1")},
	} {
		c.App = "shop"
		_, err := n.SetEntry(ctx, c)
		n.must(err)
	}
	_, err := n.IncrementEntry(ctx, picloud.EntryIncrement{App: "shop", Key: "visits", By: 41})
	n.must(err)
	for i, name := range []string{"Ada", "Grace", "Edsger"} {
		body := fmt.Sprintf(`{"name":%q,"address":{"city":"Rome"},"n":%d}`, name, i)
		_, err := n.PutDocument(ctx, picloud.DocumentChange{App: "shop", Collection: "customers", ID: strings.ToLower(name), Body: []byte(body)})
		n.must(err)
	}
	for path, content := range map[string]string{"prices/today.txt": "tea 2\n", "prices/old.txt": "tea 1\n", "empty": ""} {
		_, err := n.PutFile(ctx, picloud.FileChange{App: "shop", Path: path, Type: "text/plain", Size: -1}, strings.NewReader(content))
		n.must(err)
	}
	_, err = n.SetSecret(ctx, "shop", "mail", []byte("a secret"))
	n.must(err)
	_, err = n.Publish(ctx, picloud.Publication{App: "shop", By: picloud.LocalOperator(), IdempotencyKey: "once", Drafts: []picloud.Draft{
		{Topic: "orders", Data: []byte(`{"n":1}`)}, {Topic: "orders", Data: []byte(`{"n":2}`)},
	}})
	n.must(err)
	publish(n.t, n.running, "shop", "old", `"gone"`)
	n.must(n.DeleteTopic(ctx, "shop", "old"))
	publish(n.t, n.running, "shop", "load", `0.5`)
}

// run makes what runs of scripts leave: the first delivery of on-order fails, the
// second is given up.
func (n *fixtureNode) run() {
	ctx := n.t.Context()
	n.RecordRun(picloud.Run{
		App: "shop", Script: "till", Version: 2, Cause: "trigger:on-order", Attempt: 1, StartedAt: n.clock.Now(), Duration: time.Second, Outcome: "error",
		Error: "no paper", Lines: []picloud.RunLine{{At: n.clock.Now(), Level: "info", Text: "printing"}},
	})
	tr, err := n.Trigger("shop", "on-order")
	n.must(err)
	owed, err := n.deliveries(tr, 0, 10)
	n.must(err)
	if len(owed) != 2 {
		n.t.Fatalf("on-order owes %d deliveries", len(owed))
	}
	failed := owed[0]
	failed.Attempts, failed.NotUntil, failed.Errors = 1, n.clock.Now().Add(time.Minute), []string{"no paper"}
	n.must(n.Postpone(ctx, tr, failed))
	n.must(n.Bury(ctx, tr, owed[1], "no ink"))
	cron, err := n.Trigger("shop", "nightly")
	n.must(err)
	n.must(n.Tick(ctx, cron, n.clock.Now().Truncate(24*time.Hour), true))
	n.fallBehind()
	e, err := n.Endpoint("shop", "order")
	n.must(err)
	answered, err := n.Accept(ctx, e, []byte(keyedRequest))
	n.must(err)
	n.must(n.SetResult(ctx, "shop", answered, picloud.Result{State: picloud.ResultDone, Output: []byte(`{"ok":true}`)}))
	n.must(n.SetNote(ctx, "answered", []byte(answered)))
	asTrigger := picloud.Trigger{App: e.App, Name: e.Name, ID: e.ID, Kind: picloud.TriggerHTTP}
	requests, err := n.deliveries(asTrigger, 0, 10)
	n.must(err)
	n.must(n.MarkDone(ctx, asTrigger, []uint64{requests[0].LSN}))
	_, err = n.Accept(ctx, e, []byte(`{"input":{"n":3}}`))
	n.must(err)
}

// fallBehind makes a trigger have more deliveries than may wait: one is given up, one
// done, and so the trigger gets the next.
func (n *fixtureNode) fallBehind() {
	ctx := n.t.Context()
	_, err := n.CreateApp(ctx, picloud.App{Name: "slow"})
	n.must(err)
	_, err = n.SaveScript(ctx, picloud.Script{App: "slow", Name: "s", Source: "//"}, picloud.Precondition{})
	n.must(err)
	tr, err := n.SaveTrigger(ctx, picloud.Trigger{App: "slow", Name: "t", Kind: picloud.TriggerPubSub, Script: "s", Enabled: true})
	n.must(err)
	for i := range 10 {
		_, err = n.Publish(ctx, picloud.Publication{
			App: "slow", By: picloud.LocalOperator(), Cause: picloud.Cause{Hops: i % 2}, Drafts: []picloud.Draft{{Topic: "x", Data: fmt.Append(nil, i)}},
		})
		n.must(err)
	}
	waiting, err := n.deliveries(tr, 0, 10)
	n.must(err)
	n.must(n.GiveUp(ctx, tr, []uint64{waiting[0].LSN}))
	n.must(n.MarkDone(ctx, tr, []uint64{waiting[1].LSN}))
	eventually(n.t, "a step is taken", func() bool { return n.CountDeliveries(tr) == 3 })
}

// flood publishes large events until it is enough.
func (n *fixtureNode) flood(enough func(i int) bool) {
	for i := 0; !enough(i); i++ {
		if i == 1000 {
			n.t.Fatal("no segment was ever dropped")
		}
		publish(n.t, n.running, "default", "flood", fmt.Sprintf(`"%d %s"`, i, strings.Repeat("x", 10<<10)))
		n.MoveCursor(picloud.Central, n.LastLSN())
	}
}

// after makes what the checkpoint does not have.
func (n *fixtureNode) after() {
	ctx := n.t.Context()
	_, err := n.SetEntry(ctx, picloud.EntryChange{App: "shop", Key: "open", Value: []byte("false")})
	n.must(err)
	n.must(n.DeleteEntry(ctx, picloud.Deletion{App: "shop", Name: "closed"}))
	_, err = n.PutDocument(ctx, picloud.DocumentChange{App: "shop", Collection: "customers", ID: "ada", Body: []byte(`{"n":10}`), Merge: true})
	n.must(err)
	n.must(n.DeleteDocument(ctx, picloud.Deletion{App: "shop", Container: "customers", Name: "edsger"}))
	_, err = n.PutFile(ctx, picloud.FileChange{App: "shop", Path: "prices/today.txt", Type: "text/plain", Size: -1}, strings.NewReader("tea 3\n"))
	n.must(err)
	n.must(n.DeleteFile(ctx, picloud.Deletion{App: "shop", Name: "prices/old.txt"}))
	_, err = n.SaveScript(ctx, picloud.Script{App: "shop", Name: "till", Source: "export default () => 2\n"}, picloud.Precondition{})
	n.must(err)
	_, err = n.Publish(ctx, picloud.Publication{App: "shop", By: picloud.LocalOperator(), IdempotencyKey: "again", Drafts: []picloud.Draft{{Topic: "orders", Data: []byte(`{"n":3}`)}}})
	n.must(err)
	flush(n.t, n.running)
	_, err = n.Entry("shop", "closed")
	if !errors.Is(err, picloud.ErrKVNotFound) {
		n.t.Fatal(err)
	}
}
