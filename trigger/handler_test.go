package trigger_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/publish"
	"github.com/picloud/picloud/script"
	"github.com/picloud/picloud/sdk"
	"github.com/picloud/picloud/store"
	"github.com/picloud/picloud/trigger"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == script.WorkerArg {
		os.Exit(script.Work())
	}
	os.Exit(m.Run())
}

// node is a store, and a handler whose scripts run in real workers.
type node struct {
	*store.Store
	*trigger.Handler
}

const source = `
import { requireCaller, response } from "picloud";
export default (event, ctx) => { console.log(JSON.stringify([event, ctx.trigger, ctx.delivery, ctx.attempt, ctx.attempts])); };
export const fail = () => { throw new Error("no"); };
export const answer = (request, ctx) => response.json({ request, caller: ctx.caller, attempt: ctx.attempt });
export const known = () => requireCaller();
export const broken = () => response.json(1, { status: 999 });
`

func newNode(t *testing.T) node {
	t.Helper()
	st, err := store.Open(store.Config{Dir: t.TempDir(), ReserveBytes: -1, SegmentSize: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	runner := script.New(script.Config{
		Host:   sdk.New(sdk.Config{Store: st, Publisher: publish.New(publish.Config{Committer: st})}),
		Record: func(r picloud.Run) string { return st.RecordRun(r).ID },
		Limits: script.Limits{Time: time.Minute, Total: 2 * time.Minute}, // a busy machine takes its time
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- st.Run(ctx) }()
	go func() { ended <- runner.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, <-ended, st.Close()); err != nil {
			t.Error(err)
		}
	})
	if _, err := st.SaveScript(t.Context(), picloud.Script{App: picloud.DefaultApp, Name: "s", Source: source}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	return node{st, trigger.New(runner, st)}
}

func triggerOf(export string) picloud.Trigger {
	return picloud.Trigger{App: picloud.DefaultApp, Name: "t", Script: "s", Export: export, Timeout: time.Minute, Retry: picloud.Retry{Attempts: 8}}
}

// A script gets the event of its delivery and why it runs, and the record of the run
// names the trigger, the delivery and the attempt. Its failure is that of the attempt.
func TestDeliveryRunsTheScript(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	d := picloud.Delivery{ID: "d1", Attempts: 1, What: picloud.Happening{Kind: picloud.TriggerPubSub, At: at, Name: "door", Position: "00c3a91e42.7", Source: "local", Data: []byte(`{"open":true}`)}}
	if err := n.Handle(t.Context(), triggerOf(""), d); err != nil {
		t.Fatal(err)
	}
	runs, err := n.Runs(picloud.DefaultApp, "s", "", 10)
	if err != nil || len(runs) != 1 || len(runs[0].Lines) != 1 {
		t.Fatalf("%+v, %v", runs, err)
	}
	r := runs[0]
	want := `[{"kind":"pubsub","at":"2026-03-01T08:00:00.000000Z","topic":"door","data":{"open":true},"source":"local","id":"00c3a91e42.7"},"t","d1",2,8]`
	if r.Lines[0].Text != want {
		t.Errorf("the script got %s\nwant %s", r.Lines[0].Text, want)
	}
	if r.Cause != "trigger:t" || r.Delivery != "d1" || r.Attempt != 2 || r.Outcome != picloud.RunOK {
		t.Errorf("the record says %+v", r)
	}
	if err := n.Handle(t.Context(), triggerOf("fail"), d); err == nil {
		t.Error("a script that throws has done its work")
	}
}

// The answer to a request that was accepted before is kept under its id. A response
// that cannot be sent fails the attempt, and the request goes on waiting.
func TestRequestIsAnsweredLater(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	data, err := json.Marshal(picloud.LaterRequest{Input: json.RawMessage(`{"method":"POST"}`), About: map[string]any{"caller": map[string]any{"kind": "key"}}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := n.SaveEndpoint(t.Context(), picloud.Endpoint{App: picloud.DefaultApp, Name: "e", Path: "/e", Script: "s"})
	if err != nil {
		t.Fatal(err)
	}
	id, err := n.Accept(t.Context(), e, data)
	if err != nil {
		t.Fatal(err)
	}
	d := picloud.Delivery{ID: "d1", Attempts: 2, What: picloud.Happening{Kind: picloud.TriggerHTTP, Name: id, Data: data}}
	if err := n.Handle(t.Context(), triggerOf("broken"), d); err == nil {
		t.Error("a response with the status 999 is kept")
	}
	if res, err := n.Result(picloud.DefaultApp, id); err != nil || res.State != picloud.ResultWaiting {
		t.Errorf("%+v, %v", res, err)
	}
	if err := n.Handle(t.Context(), triggerOf("answer"), d); err != nil {
		t.Fatal(err)
	}
	res, err := n.Result(picloud.DefaultApp, id)
	if err != nil || res.State != picloud.ResultDone || !res.Response {
		t.Fatalf("%+v, %v", res, err)
	}
	got, err := sdk.ReadResponse(res.Output)
	want := `{"request":{"method":"POST"},"caller":{"kind":"key"},"attempt":3}` + "\n"
	if diff := cmp.Diff(want, string(got.Body)); err != nil || diff != "" {
		t.Error(err, diff)
	}

	// Another attempt has the same caller: the request is refused at once.
	if data, err = json.Marshal(picloud.LaterRequest{About: map[string]any{"caller": nil}}); err != nil {
		t.Fatal(err)
	}
	if id, err = n.Accept(t.Context(), e, data); err != nil {
		t.Fatal(err)
	}
	d.What.Name, d.What.Data = id, data
	if err := n.Handle(t.Context(), triggerOf("known"), d); err != nil {
		t.Fatal(err)
	}
	if res, err := n.Result(picloud.DefaultApp, id); err != nil || res.State != picloud.ResultRefused {
		t.Errorf("%+v, %v", res, err)
	}
}
