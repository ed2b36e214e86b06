package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/hw"
	"github.com/picloud/picloud/hw/sensor"
	"github.com/picloud/picloud/publish"
	"github.com/picloud/picloud/script"
	"github.com/picloud/picloud/sdk"
	"github.com/picloud/picloud/store"
)

var update = flag.Bool("update", false, "write the golden file anew")

// TestMain lets the test's binary be the worker that runs scripts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == script.WorkerArg {
		os.Exit(script.Work())
	}
	os.Exit(m.Run())
}

// node is a store with scripts that can be run.
type node struct {
	*store.Store
	runner *script.Runner
	site   string // a server that scripts may ask

	sensors *sensor.Poller
	wire    string // file of the sensor "room"
}

// thermometers are sensors on the 1-Wire bus: one that is there, one that is not, and one of another
// app. The file is that of the first.
func thermometers(t *testing.T, publisher picloud.Publisher) (poller *sensor.Poller, file string) {
	t.Helper()
	root := t.TempDir()
	file = filepath.Join(root, "sys/bus/w1/devices/28-1/temperature")
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte("21437\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	var all []sensor.Settings
	for name, path := range map[string]string{"room": "28-1", "attic": "28-2", "others": "28-1"} {
		s := sensor.Defaults(name)
		s.Driver, s.Path, s.Every, s.Durability = "ds18b20", "/sys/bus/w1/devices/"+path+"/temperature", time.Second, picloud.DurabilitySync
		if name == "others" {
			s.App = "other"
		}
		complete, faults := s.Complete()
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		all = append(all, complete)
	}
	return sensor.New(sensor.Config{Sensors: all, Publisher: publisher, Root: root}), file
}

// website starts a server.
func website(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-B", "c")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("X-A"), body)
	})
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte{0, 255}) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20+1)) })
	mux.HandleFunc("/elsewhere", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func newNode(t *testing.T) *node {
	t.Helper()
	st, err := store.Open(store.Config{Dir: t.TempDir(), ReserveBytes: -1, SegmentSize: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	mint := func(_ context.Context, by picloud.Principal, app string, topics []string, ttl time.Duration) (string, time.Time, error) {
		return by.Source() + " " + app + " " + strings.Join(topics, ",") + " " + ttl.String(), time.Unix(1e9, 0).UTC(), nil
	}
	board := hw.New(hw.Config{Driver: hw.DriverSim, Pins: []hw.PinConfig{
		{App: "default", Name: "lamp", Line: "GPIO22", Output: true}, {App: "default", Name: "level", Line: "GPIO22"}, {App: "other", Name: "others", Line: "GPIO4"},
	}})
	server := website(t)
	publisher := publish.New(publish.Config{Committer: st})
	sensors, wire := thermometers(t, publisher)
	n := &node{Store: st, site: server, sensors: sensors, wire: wire, runner: script.New(script.Config{
		Host:   sdk.New(sdk.Config{Store: st, Publisher: publisher, Mint: mint, Board: board, Sensors: sensors, HTTPHosts: []string{strings.TrimPrefix(server, "http://")}}),
		Limits: script.Limits{Time: time.Minute, Total: 5 * time.Minute}, // a busy machine takes its time
	})}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- st.Run(ctx) }()
	go func() { ended <- n.runner.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, <-ended, st.Close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// run runs the body of a handler and returns what it returns.
func (n *node) run(t *testing.T, body string) string {
	t.Helper()
	source := "import * as sdk from 'picloud';\nimport { kv, docs, files, secrets, http, hw, pubsub, time, crypto, log, ctx } from 'picloud';\nconst HOST = '" + n.site + "', OTHER = 'http://127.0.0.1:1/';\nexport default async function (input) {\n" + body + "\n}"
	if _, err := n.SaveScript(t.Context(), picloud.Script{App: "default", Name: "test", Source: source}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	res, err := n.runner.Do(t.Context(), script.Job{App: "default", Script: "test"})
	if err != nil {
		t.Fatalf("%v\n%+v", err, res.Lines)
	}
	return string(res.Output)
}

// SC-4: what the SDK consists of is pinned. Whoever changes it decides about its
// version.
func TestSurface(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	out := n.run(t, `
	const list = [];
	for (const name of Object.keys(sdk)) {
		const v = sdk[name];
		if (typeof v === "object" && name !== "ctx") for (const k of Object.keys(v)) list.push(name + "." + k + ": " + typeof v[k] + (typeof v[k] === "function" ? "/" + v[k].length : ""));
		else list.push(name + ": " + (name === "version" ? v : typeof v));
	}
	return list.sort();`)
	var list []string
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(list, "\n") + "\n"
	if !strings.Contains(got, "version: "+script.SDKVersion+"\n") || !strings.Contains(script.Types, "Version "+script.SDKVersion+".\n") {
		t.Errorf("sdk.js or sdk.d.ts has another version than script.SDKVersion, %s", script.SDKVersion)
	}
	const golden = "testdata/surface.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the SDK has changed: raise its version, and run this with -update\n%s", diff)
	}
}

// SC-4: the declarations for editors have every name of the SDK, and no other.
func TestTypesAreThoseOfTheSDK(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/surface.golden")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for line := range strings.Lines(string(b)) {
		name, _, _ := strings.Cut(line, ":")
		want = append(want, name)
	}
	module := ""
	for line := range strings.Lines(script.Types) {
		if m := regexp.MustCompile(`^  export (?:const|let|function|class) (\w+)`).FindStringSubmatch(line); m != nil {
			module = m[1]
			members := regexp.MustCompile(`[{;] (\w+)\(`).FindAllStringSubmatch(line, -1)
			for _, member := range members {
				got = append(got, module+"."+member[1])
			}
			if len(members) == 0 && !strings.HasSuffix(line, "{\n") {
				got = append(got, module)
			}
		} else if m := regexp.MustCompile(`^    (\w+)[<(]`).FindStringSubmatch(line); m != nil {
			got = append(got, module+"."+m[1])
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the SDK (-) and its declarations (+):\n%s", diff)
	}
}

// Each call that the JavaScript side makes is answered, and nothing else can be
// asked for.
func TestBothSidesAgree(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../script/sdk.js")
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	for _, m := range regexp.MustCompile(`call\("(\w+)", "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		asked = append(asked, m[1]+"."+m[2])
	}
	slices.Sort(asked)
	answered := sdk.New(sdk.Config{}).Methods()
	slices.Sort(answered)
	if diff := cmp.Diff(answered, slices.Compact(asked)); diff != "" {
		t.Errorf("answered (-) and asked for (+):\n%s", diff)
	}
}

// SC-4, HW-4: a script reads the latest values of its app's sensors. The old values of a
// sensor that cannot be read any more are not given for present ones.
func TestSensors(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.sensors.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	const body = `
	const told = [];
	for (const name of ["room", "attic", "others", "none"]) {
		try { const s = await hw.sensor(name); told.push([s.name, s.values, s.readAt instanceof Date, s.fault, s.topic]); } catch (e) { told.push(e.name + " " + e.type + " " + e.message.length); }
	}
	return [told, (await hw.sensors()).map((s) => [s.name, s.values, s.readAt === null, s.failed, s.fault === null, s.faultSince instanceof Date, s.simulated])];`
	faulty := func(name string) func() bool {
		return func() bool { s, err := n.sensors.Sensor("default", name); return err == nil && s.Fault != "" }
	}
	await(t, "the attic is found to be missing", faulty("attic"))
	await(t, "the room is measured", func() bool { s, err := n.sensors.Sensor("default", "room"); return err == nil && s.Values != nil })
	out := regexp.MustCompile(`unavailable \d+|found \d+`).ReplaceAllStringFunc(n.run(t, body), func(s string) string { return strings.TrimRight(s, "0123456789") + "N" })
	const attic, missing = `"UnavailableError sensor-unavailable N"`, `"NotFoundError sensor-not-found N","NotFoundError sensor-not-found N"`
	if want := `[[["room",{"celsius":21.437},true,null,"sensors/room"],` + attic + `,` + missing + `],[["attic",null,true,true,false,true,false],["room",{"celsius":21.437},false,false,true,false,false]]]`; out != want {
		t.Errorf("%s\nwant %s", out, want)
	}
	if err := os.Remove(n.wire); err != nil {
		t.Fatal(err)
	}
	await(t, "the room is found to be missing", faulty("room"))
	if out := n.run(t, body); !strings.HasPrefix(out, `[["UnavailableError sensor-unavailable `) || !strings.Contains(out, `["room",{"celsius":21.437},false,true,false,true,false]`) {
		t.Errorf("of a sensor that is gone: %s", out)
	}
}

// await waits for what sensors do in a goroutine of their own, which tells nobody.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// SC-4: every method does what it says, from JavaScript to the store.
func TestMethods(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ body, want string }{
		"kv": {
			`
			const v = await kv.set("a", { n: 1 });
			const e = await kv.entry("a");
			await kv.set("b", new Uint8Array([0, 255]), { ttl: 60 });
			const b = await kv.entry("b");
			return [e.value, e.version === v, await kv.get("none") === undefined, [...b.value], b.expiresAt > b.updatedAt,
				await kv.increment("n"), await kv.increment("n", 41), (await kv.list({ prefix: "a" })).entries.length,
				await kv.delete("a"), await kv.delete("a")];`,
			`[{"n":1},true,true,[0,255],true,1,42,1,true,false]`,
		},
		"files": {
			`
			const f = await files.write("a/b.txt", "grüße");
			const g = await files.write("a/c", new Uint8Array([0, 255, 7]), { type: "image/png", create: true });
			const empty = await files.write("a/b.txt", "", { version: f.version });
			const caught = [];
			for (const fn of [() => files.write("a/c", "x", { create: true }), () => files.write("a/c", "x", { version: 1 }), () => files.write("../c", "x"),
				() => files.write("o", { n: 1 }), () => files.text("a/c"), () => files.read("a/c", { offset: -1 })]) try { await fn(); } catch (e) { caught.push(e.name); }
			return [f.size, f.type, f.sha256.length, g.type, empty.size, await files.text("a/b.txt"), [...await files.read("a/c")], [...await files.read("a/c", { offset: 1, length: 1 })],
				(await files.read("a/c", { offset: 9 })).length, await files.read("none") === undefined, await files.text("none") === undefined, await files.stat("none") === undefined,
				(await files.stat("a/c")).version === g.version, (await files.list({ prefix: "a/" })).files.map((f) => f.path), caught, await files.delete("a/c"), await files.delete("a/c")];`,
			`[7,"text/plain; charset=utf-8",64,"image/png",0,"",[0,255,7],[255],0,true,true,true,true,["a/b.txt","a/c"],["PreconditionError","PreconditionError","InvalidError","TypeError","InvalidError","InvalidError"],true,false]`,
		},
		"files larger than a run": {
			`
			await files.write("big", "x".repeat(1 << 18));
			let caught = [];
			try { await files.write("big", "x".repeat(2200000)); } catch (e) { caught.push(e.name); }
			return [(await files.text("big")).length, (await files.read("big", { offset: 1, length: 1000 })).length, caught];`,
			`[262144,1000,["TooLargeError"]]`,
		},
		"kv conditions": {
			`
			const v = await kv.set("c", 1, { create: true });
			let caught = [];
			for (const o of [{ create: true }, { version: v - 1 }]) try { await kv.set("c", 2, o); } catch (e) { caught.push(e instanceof sdk.PreconditionError); }
			try { await kv.set("", 2); } catch (e) { caught.push(e.name + " " + e.type); }
			try { await kv.set("x", 2, { tll: 3 }); } catch (e) { caught.push(e.name); }
			return [caught, await kv.set("c", 3, { version: v }) > v];`,
			`[[true,true,"InvalidError kv-key-invalid","TypeError"],true]`,
		},
		"slips": {
			`
			await kv.set("s", 1);
			const slips = [() => kv.set("s", 2, { version: 0 }), () => kv.set("s", 2, { version: "x" }), () => kv.set("s", 2, { ttl: NaN }), () => kv.delete("s", { version: 0 }), () => kv.set("s", NaN), () => kv.set("s", () => 1),
				() => docs.find("c", { where: { owner: undefined } }), () => docs.delete("c", "x", { version: 0 }), () => pubsub.publish("t", 1, { idempotencyKey: "" }), () => sdk.response.bytes("abc")];
			let caught = 0;
			for (const fn of slips) try { await fn(); } catch (e) { if (e instanceof TypeError) caught++; }
			return [caught === slips.length, await kv.get("s"), (await kv.list({ prefix: "", after: "" })).entries.length];`,
			`[true,1,1]`,
		},
		"markup": {
			`
			const text = "<b>&</b>".repeat(50000);
			await kv.set("m", text);
			await files.write("m.html", text);
			return [text.length, (await kv.get("m")) === text, (await files.text("m.html")) === text];`,
			`[400000,true,true]`,
		},
		"bytes": {
			`
			const b = new Uint8Array(1 << 20).map((_, i) => i * 7);
			await files.write("b", b);
			const back = await files.read("b");
			let caught = [];
			try { await files.write("b", new Uint8Array((1 << 20) + 1)); } catch (e) { caught.push(e.name); }
			return [back.length, back.every((v, i) => v === b[i]), caught];`,
			`[1048576,true,["TooLargeError"]]`,
		},
		"docs": {
			`
			const d = await docs.create("c", { n: 1, who: "ada" });
			await docs.put("c", "x", { n: 2, who: "bob" });
			const m = await docs.merge("c", "x", { who: null, more: { a: 1 } });
			let caught = [];
			try { await docs.put("c", "x", {}, { version: 1 }); } catch (e) { caught.push(e.name); }
			try { await docs.put("c", "y", [1]); } catch (e) { caught.push(e.type); }
			try { await docs.put("c", undefined, {}); } catch (e) { caught.push(e.name); }
			try { await docs.find("c", { where: { a: { like: 1 } } }); } catch (e) { caught.push(e.type); }
			const found = await docs.find("c", { where: { n: { gte: 1 } }, sort: "n", descending: true, limit: 1 });
			const rest = await docs.find("c", { where: { n: { gte: 1 } }, sort: "n", descending: true, limit: 1, after: found.next });
			return [d.body, d.createdAt <= d.updatedAt, m.body, caught, found.documents[0].id, rest.documents[0].id === d.id, rest.next,
				await docs.delete("c", d.id), await docs.delete("c", d.id), await docs.get("c", d.id) === undefined, (await docs.get("c", "x")).version === m.version];`,
			`[{"n":1,"who":"ada"},true,{"more":{"a":1},"n":2},["PreconditionError","document-invalid","TypeError","query-invalid"],"x",true,"",true,false,true,true]`,
		},
		"pubsub": {
			`
			const a = await pubsub.publish("t", { n: 1 }, { idempotencyKey: "k" });
			const b = await pubsub.publish("t", { n: 1 }, { idempotencyKey: "k" });
			let caught;
			try { await pubsub.publish("$own", 1); } catch (e) { caught = e instanceof sdk.ForbiddenError; }
			return [a.id === b.id, caught, await pubsub.subscriberToken("t", 60)];`,
			`[true,true,{"expiresAt":"2001-09-09T01:46:40.000000Z","token":"script:test default t 1m0s"}]`,
		},
		"crypto": {
			`
			return [await crypto.hash("sha-256", "abc"), await crypto.hmac("sha-1", "key", new Uint8Array([1]), "base64"),
				(await crypto.randomBytes(5)).length, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(await crypto.randomUUID())];`,
			`["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","ZsBXUNpNbG6oWcy2zn6Zle6CLTY=",5,true]`,
		},
		"secrets": {
			`return [await secrets.get("mail"), await secrets.get("none") === undefined];`,
			`["pass wörd",true]`,
		},
		"http": {
			`
			const r = await http.fetch(HOST + "/echo", { method: "POST", headers: { "x-a": "b" }, body: "hello" });
			const b = await http.fetch(HOST + "/bytes");
			let caught = [];
			for (const url of [OTHER, HOST + "/elsewhere", HOST + "/large", HOST + "/slow", "file:///etc/passwd", "https://u:p@example.org", "nonsense"])
				try { await http.fetch(url, { timeout: 0.5 }); caught.push("fine"); } catch (e) { caught.push(e.name + " " + e.type); }
			return [r.status, r.ok, r.text, r.headers["x-b"], [...b.bytes()], b.ok, caught];`,
			`[201,true,"POST b hello","c",[0,255],true,["ForbiddenError http-not-allowed","ForbiddenError http-not-allowed","TooLargeError http-answer-too-large","UnavailableError http-failed","InvalidError argument-invalid","ForbiddenError http-not-allowed","InvalidError argument-invalid"]]`,
		},
		"hw": {
			`
			const at = [await hw.read("lamp"), await hw.read("level")];
			await hw.set("lamp", true);
			let caught = [];
			for (const fn of [() => hw.set("lamp", 1), () => hw.set("lamp"), () => hw.set("level", true), () => hw.read("others"), () => hw.read(), () => hw.pulse("lamp"), () => hw.pulse("lamp", 0), () => hw.pulse("lamp", 1.5), () => hw.pulse("lamp", 86400001), () => hw.pulse("lamp", 5, null)]) try { await fn(); } catch (e) { caught.push(e.name + " " + e.type); }
			const h = await hw.health(), now = [await hw.read("lamp"), await hw.read("level")];
			await hw.pulse("lamp", 60000, false);
			const p = (await hw.pins())[0];
			return [at, ...now, (await hw.pins()).map((p) => p.name + p.output + p.simulated), p.on, p.for_ms > 0 && p.for_ms <= 60000, p.set_by, caught, h.simulated, h.at > 0, h.load >= 0, h.undervoltage];`,
			`[[false,false],true,true,["lamptruetrue","levelfalsetrue"],false,true,"script:test",["InvalidError argument-invalid","InvalidError argument-invalid","ConflictError pin-is-input","NotFoundError pin-not-found","NotFoundError pin-not-found","InvalidError pulse-invalid","InvalidError pulse-invalid","InvalidError pulse-invalid","InvalidError pulse-invalid","InvalidError argument-invalid"],true,true,true,false]`,
		},
		"time": {
			`
			const at = time.now(); await time.sleep(20);
			return [time.now() - at >= 20, ctx.script, ctx.app];`,
			`[true,"test","default"]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			if _, err := n.SetSecret(t.Context(), "default", "mail", []byte("pass wörd")); err != nil {
				t.Fatal(err)
			}
			if got := n.run(t, test.body); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}
