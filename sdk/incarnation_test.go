package sdk_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/script"
)

// SR-5: a run of a deleted app that still goes on reaches nothing of the app that
// has its name now, whichever method it calls: it reads no secret, changes nothing,
// and leaves no record.
func TestRunOfADeletedAppReachesNothing(t *testing.T) {
	n := newNode(t)
	ctx := t.Context()
	calls := map[string]string{
		"kv.set": `kv.set("k", 1)`, "kv.increment": `kv.increment("k")`, "kv.delete": `kv.delete("kept")`, "kv.get": `kv.get("kept")`, "kv.list": `kv.list()`,
		"docs.put": `docs.put("c", "d", {})`, "docs.delete": `docs.delete("c", "kept")`, "docs.get": `docs.get("c", "kept")`, "docs.find": `docs.find("c", {})`,
		"files.write": `files.write("f", "x")`, "files.delete": `files.delete("kept")`, "files.read": `files.read("kept")`,
		"pubsub.publish": `pubsub.publish("a", 1)`, "secrets.get": `secrets.get("kept")`,
	}
	fill := func(app string) {
		t.Helper()
		_, err := n.CreateApp(ctx, picloud.App{Name: app})
		_, err2 := n.SetEntry(ctx, picloud.EntryChange{App: app, Key: "kept", Value: []byte("1")})
		_, err3 := n.PutDocument(ctx, picloud.DocumentChange{App: app, Collection: "c", ID: "kept", Body: []byte("{}")})
		_, err4 := n.PutFile(ctx, picloud.FileChange{App: app, Path: "kept", Size: -1}, strings.NewReader("x"))
		_, err5 := n.SetSecret(ctx, app, "kept", []byte("hidden"))
		if err := errors.Join(err, err2, err3, err4, err5); err != nil {
			t.Fatal(err)
		}
	}
	fill("shop")
	for name, call := range calls {
		source := `import { kv, docs, files, pubsub, secrets, time } from "picloud";
			export default async () => { console.log("waits"); await time.sleep(200); return await ` + call + `; }`
		if _, err := n.SaveScript(ctx, picloud.Script{App: "shop", Name: "late", Source: source}, picloud.Precondition{}); err != nil {
			t.Fatal(err)
		}
		waits, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			_, err := n.runner.Do(ctx, script.Job{App: "shop", Script: "late", Line: func(picloud.RunLine) { close(waits) }})
			ended <- err
		}()
		select {
		case <-waits:
		case err := <-ended:
			t.Fatal(err)
		}
		if err := n.DeleteApp(ctx, "shop"); err != nil {
			t.Fatal(err)
		}
		fill("shop")
		events := n.LastLSN()
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "app") {
			t.Errorf("%s: the run ended with %v", name, err)
		}
		if runs, err := n.Runs("shop", "", "", 10); err != nil || len(runs) != 0 {
			t.Errorf("%s: the successor has the record %+v, %v", name, runs, err)
		}
		if got := n.LastLSN(); got != events {
			t.Errorf("%s: %d records were written for the successor", name, got-events)
		}
	}
}

// SR-5: deleting an app cuts off what runs for it.
func TestDeletingAnAppEndsItsRuns(t *testing.T) {
	n := newNode(t)
	ctx := t.Context()
	n.SetAppDeleted(n.runner.EndApp)
	if _, err := n.CreateApp(ctx, picloud.App{Name: "shop"}); err != nil {
		t.Fatal(err)
	}
	source := `import { time } from "picloud"; export default async () => { console.log("waits"); await time.sleep(30000); }`
	if _, err := n.SaveScript(ctx, picloud.Script{App: "shop", Name: "long", Source: source}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	waits, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := n.runner.Do(ctx, script.Job{App: "shop", Script: "long", Line: func(picloud.RunLine) { close(waits) }})
		ended <- err
	}()
	<-waits
	if err := n.DeleteApp(ctx, "shop"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "deleted") {
			t.Errorf("the run ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the run goes on")
	}
}
