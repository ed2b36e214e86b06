package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/pgsync/pgtest"
)

// A script that sets itself off through the whole node is stopped.
func TestCircleIsStopped(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	const source = `import { kv, pubsub } from "picloud"; export default async () => { await kv.increment("rounds"); await pubsub.publish("again", 1); }`
	if _, errs, code := n.run(source, "scripts", "push", "--name", "circle", "-"); code != 0 {
		t.Fatal(errs)
	}
	n.cli("triggers", "set", "circle", "--kind", "pubsub", "--topic", "again", "--script", "circle")
	n.cli("publish", "again", "1")
	until(t, "it is stopped", func() bool { return strings.Contains(n.cli("dead-letters", "list"), "set each other off") })
	if rounds := n.cli("kv", "get", "rounds"); rounds != "17\n" {
		t.Errorf("it went round %s times", rounds)
	}
}

// The examples, as they are in the repository: the node finds them in its folder of
// apps, and each does what it says (OP-2, TR-1, FI-1, SC-5).
func TestExamples(t *testing.T) {
	t.Parallel()
	n := newNode(t, "PICLOUD_HW_DRIVER=sim")
	apps := filepath.Join(n.home, "apps")
	if err := os.CopyFS(apps, os.DirFS("../examples")); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile("../examples/board.toml")
	if err != nil {
		t.Fatal(err)
	}
	board := filepath.Join(n.home, "picloud.toml")
	config = append(config, "\n[hw.outputs.heater]\nline = \"GPIO5\"\napp = \"thermostat\"\n"...)
	if err := os.WriteFile(board, config, 0o600); err != nil {
		t.Fatal(err)
	}
	n.args = append(n.args, "--config", board)
	n.env = append(n.env, "PICLOUD_APPS_DIR="+apps)
	n.start()
	key := n.key("", "instance:admin")
	all := []string{"doorbell", "mailbox", "meter", "orders", "readings", "summary", "thermostat", "web"}
	until(t, "the apps are there", func() bool {
		for _, app := range all {
			if out, _, code := n.run("", "apply", "--dry-run", "../examples/"+app); code != 0 || !strings.Contains(out, "nothing to do") {
				return false
			}
		}
		return true
	})
	data := func(app, topic string) []string {
		t.Helper()
		var list []string
		for _, e := range n.history(key, app, topic) {
			list = append(list, string(e.Data))
		}
		return list
	}
	is := func(what string, want []string, got func() []string) {
		t.Helper()
		until(t, fmt.Sprintf("%s is %v", what, want), func() bool { return slices.Equal(got(), want) })
	}

	n.cli("hw", "--app", "doorbell", "sim", "press", "bell", "--bounce", "10ms", "--times", "2")
	n.cli("publish", "--app", "doorbell", "button", `{"pressed":true}`)
	n.cli("publish", "--app", "doorbell", "button", `{"pressed":false}`)
	is("the chime", []string{`{"visitors":1}`}, func() []string { return data("doorbell", "chime") })

	n.cli("hw", "--app", "meter", "sim", "press", "s0", "--for", "20ms", "--bounce", "2ms", "--times", "12")
	is("the energy", []string{"kwh 0.012"}, func() (list []string) {
		for _, e := range data("meter", "energy") {
			var d struct{ KWh, Watts float64 }
			if err := json.Unmarshal([]byte(e), &d); err != nil || d.Watts <= 0 && len(list) == 0 {
				t.Errorf("%s: %v", e, err)
			}
			list = []string{fmt.Sprintf("kwh %g", d.KWh)} // of the newest
		}
		return list
	})

	// As a sensor publishes, with a fault in the end; the relay is that of a simulated board.
	for _, reading := range []string{`"celsius":20.5`, `"celsius":19.9`, `"celsius":20.9`, `"celsius":21`, `"celsius":20.1`, `"celsius":18`, `"error":"it is gone"`} {
		n.cli("publish", "--app", "thermostat", "room", `{`+reading+`}`)
	}
	is("the heating", []string{`{"on":false,"celsius":20.5}`, `{"on":true,"celsius":19.9}`, `{"on":false,"celsius":21}`, `{"on":true,"celsius":18}`, `{"on":false,"why":"it is gone"}`}, func() []string { return data("thermostat", "heating") })
	n.cli("publish", "--app", "thermostat", "room", `{"celsius":18.5}`)
	until(t, "it heats again", func() bool { return slices.Contains(data("thermostat", "heating"), `{"on":true,"celsius":18.5}`) })
	until(t, "the run has ended", func() bool { return strings.TrimSpace(n.cli("kv", "--app", "thermostat", "get", "told")) == "true" })
	n.stop()  // after which nothing is delivered again
	n.start() // with the relay off
	n.cli("scripts", "--app", "thermostat", "run", "heat", "--export", "silence", `{"kind":"cron"}`)
	until(t, "the heating is off after a restart", func() bool {
		return slices.Contains(data("thermostat", "heating"), `{"on":false,"why":"not switched here"}`)
	})
	n.cli("publish", "--app", "thermostat", "room", `{"celsius":19.5}`)
	until(t, "it heats after the restart", func() bool { return slices.Contains(data("thermostat", "heating"), `{"on":true,"celsius":19.5}`) })
	n.cli("kv", "--app", "thermostat", "delete", "alive") // as after five minutes
	n.cli("scripts", "--app", "thermostat", "run", "heat", "--export", "silence", `{"kind":"cron"}`)
	until(t, "the heating is off without readings", func() bool {
		all := data("thermostat", "heating")
		return all[len(all)-1] == `{"on":false,"why":"no reading for five minutes"}`
	})

	for range 5 {
		n.cli("publish", "--app", "summary", "visit", "1")
	}
	until(t, "the visits are counted", func() bool { return strings.Contains(n.cli("kv", "--app", "summary", "list", "visits/"), " 5") })
	day := strings.TrimPrefix(strings.Fields(n.cli("kv", "--app", "summary", "list", "visits/"))[4], "visits/")
	n.cli("scripts", "--app", "summary", "run", "visits", "--export", "summary", fmt.Sprintf(`{"kind":"cron","at":"%sT20:00:00Z"}`, day))
	is("the summary", []string{fmt.Sprintf(`{"day":"%s","visits":5,"usual":5}`, day)}, func() []string { return data("summary", "summary") })

	n.cli("publish", "--app", "mailbox", "parcel", `{"id":1}`)
	n.cli("publish", "--app", "mailbox", "parcel", `{"id":2,"weight":3}`)
	is("the failures", []string{`{"trigger":"parcel","reason":"Error: a parcel without a weight"}`}, func() []string { return data("mailbox", "failures") })
	if out, _, code := n.run("", "doctor"); code == 0 || !strings.Contains(out, "1 dead letters") {
		t.Errorf("doctor says nothing of the dead letter (exit code %d):\n%s", code, out)
	}
	metrics := string(n.do(200, nil, "GET", "/metrics", key, "").body)
	for _, want := range []string{"picloud_dead_letters 1\n", "picloud_deliveries_given_up_total 1\n", "picloud_delivery_failures_total 2\n"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
	if out := n.cli("--json", "docs", "--app", "mailbox", "find", "failures", "trigger=parcel"); !strings.Contains(out, `"data":{"id":1}`) {
		t.Errorf("the collection of failures:\n%s", out)
	}

	n.do(200, nil, "PUT", "/v1/apps/readings/files/in/a.csv", key, "attic,2026-11-24T08:00:00Z,21.5\nnonsense\nattic,2026-11-24T09:00:00Z,22\n", "Content-Type", "text/csv")
	is("the import", []string{`{"path":"in/a.csv","readings":2,"rejected":1}`}, func() []string { return data("readings", "imported") })
	if out := n.cli("--json", "docs", "--app", "readings", "find", "readings", "sensor=attic"); strings.Count(out, "\n") != 2 || !strings.Contains(out, `"value":21.5`) {
		t.Errorf("the readings:\n%s", out)
	}
	if out := n.cli("files", "--app", "readings", "list"); strings.Count(out, "\n") != 2 || n.cli("files", "--app", "readings", "get", "rejected/a.csv") != "nonsense\n" {
		t.Errorf("the files:\n%s", out)
	}

	invoker := n.key("orders", "app:invoke")
	var order struct {
		ID     string
		Pieces int
		State  string
	}
	made := n.do(201, &order, "POST", "/apps/orders/orders", "", `{"who":"ada","pieces":3}`)
	path := "/apps/orders/orders/" + order.ID
	if made.header.Get("Location") != path {
		t.Errorf("it was made at %q", made.header.Get("Location"))
	}
	n.do(422, nil, "POST", "/apps/orders/orders", "", `{"who":"ada"}`)
	n.do(401, nil, "PATCH", path, "", `{"pieces":4}`)
	if n.do(200, &order, "PATCH", path, invoker, `{"pieces":4}`); order.Pieces != 4 || order.State != "new" {
		t.Errorf("the order is %+v", order)
	}
	var found struct{ Orders []json.RawMessage }
	if n.do(200, &found, "GET", "/apps/orders/orders?who=ada", "", ""); len(found.Orders) != 1 {
		t.Errorf("found %s", found.Orders)
	}
	n.do(204, nil, "DELETE", path, invoker, "")
	n.do(404, nil, "GET", path, "", "")

	// An app that is changed is applied again; one that is broken leaves it as it was.
	file := filepath.Join(apps, "doorbell", "app.toml")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(string(b) + "\n[triggers.broken]\nkind = \"cron\"\nscript = \"ring\"\nschedule = \"never\"\n")
	until(t, "the fault is told", func() bool { return strings.Contains(n.process().log.String(), "trigger broken") })
	twin := filepath.Join(apps, "twin")
	if err := os.MkdirAll(twin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(twin, "app.toml"), []byte("name = \"doorbell\"\nprune = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "the twin is told", func() bool { return strings.Contains(n.process().log.String(), "doorbell is already") })
	write(string(b) + "\n[triggers.other]\nkind = \"kv\"\nscript = \"ring\"\n")
	until(t, "the new trigger is there", func() bool { return strings.Contains(n.cli("triggers", "--app", "doorbell", "list"), "other") })
	if out := n.cli("triggers", "--app", "doorbell", "list"); strings.Contains(out, "broken") {
		t.Errorf("a broken app was applied:\n%s", out)
	}
}

// The dispatcher from end to end: on the real node, with a real Postgres behind it,
// the handler of each kind of trigger runs exactly as often as it should, and what
// it did reaches the tables (TR-1 to TR-5).
func TestDispatcher(t *testing.T) {
	t.Parallel()
	const source = `
import { kv } from "picloud";
export default async function (event, ctx) {
	await kv.increment("ran/" + ctx.trigger + "/" + ctx.delivery);
	await kv.set("saw/" + ctx.trigger, event);
}
export async function fails(event, ctx) {
	await kv.increment("tried/" + ctx.delivery);
	throw new Error("on purpose");
}
`
	for kind, test := range map[string]struct {
		triggers []string // flags of triggers; the first is looked at
		do       func(n *node)
		times    int    // runs of the first; at least for the clock
		saw      string // what its last run was about, in SQL over the JSON that it kept
		want     string
	}{
		"pubsub": {
			triggers: []string{"--kind pubsub --prefix door"},
			do: func(n *node) {
				for i := range 20 {
					n.cli("publish", "door/"+fmt.Sprint(i%3), fmt.Sprint(i))
				}
				n.cli("publish", "window", "1")
			},
			times: 20, saw: "value->>'data'", want: "19",
		},
		"kv": {
			triggers: []string{"--kind kv --prefix lamp/"},
			do: func(n *node) {
				n.cli("kv", "set", "lamp/1", `{"on":true}`)
				n.cli("kv", "set", "lamp/1", `{"on":false}`)
				n.cli("kv", "set", "other", "1")
				n.cli("kv", "delete", "lamp/1")
			},
			times: 3, saw: "value->>'deleted'", want: "true",
		},
		"docs": {
			triggers: []string{"--kind docs --collection orders"},
			do: func(n *node) {
				n.cli("docs", "put", "orders", "--id", "7", `{"n":1}`)
				n.cli("docs", "put", "orders", "--id", "7", "--merge", `{"m":2}`)
				n.cli("docs", "put", "others", `{}`)
			},
			times: 2, saw: "value->'document'->>'m'", want: "2",
		},
		"files": {
			triggers: []string{"--kind files --prefix in/"},
			do: func(n *node) {
				n.cli("files", "put", "apps_test.go", "in/a")
				n.cli("files", "put", "apps_test.go", "in/a")
				n.cli("files", "put", "apps_test.go", "out/a")
				n.cli("files", "delete", "in/a")
			},
			times: 3, saw: "value->>'path' || ' ' || (value->>'deleted')", want: "in/a true",
		},
		"cron": {
			triggers: []string{"--kind cron --schedule @every@1s"},
			do:       func(*node) {},
			times:    2, saw: "value->>'kind'", want: "cron",
		},
		"dead_letter": {
			triggers: []string{"--kind dead_letter --source first", "--kind pubsub --topic door --export fails --attempts 3 --retry-first 100ms"},
			do:       func(n *node) { n.cli("publish", "door", `"knock"`) },
			times:    1, saw: "value->'letter'->'what'->>'data'", want: "knock",
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			url := pgtest.Database(t)
			n := startNode(t, "PICLOUD_DATABASE_URL="+url, "PICLOUD_CRON_TICK_INTERVAL_MS=1000")
			if _, errs, code := n.run(source, "scripts", "push", "--name", "note", "-"); code != 0 {
				t.Fatal(errs)
			}
			names := []string{"looked-at", "first"}
			for i, flags := range slices.Backward(test.triggers) {
				args := []string{"triggers", "set", names[i], "--script", "note"}
				for f := range strings.FieldsSeq(flags) {
					args = append(args, strings.ReplaceAll(f, "@every@", "@every "))
				}
				n.cli(args...)
			}
			n.cli("sync", "wait") // then the tables are there
			test.do(n)
			runs := func() []string {
				return pgtest.Query(t, url, "SELECT value FROM picloud.kv WHERE key LIKE 'ran/looked-at/%'")
			}
			until(t, "the runs have reached Postgres", func() bool { return len(runs()) >= test.times })
			if kind == "cron" {
				n.cli("triggers", "disable", "looked-at")
			}
			n.cli("sync", "wait")
			got := runs()
			if slices.ContainsFunc(got, func(v string) bool { return v != "1" }) || (len(got) != test.times && kind != "cron") {
				t.Errorf("the handler ran %v times for each of its deliveries, want once for each of %d", got, test.times)
			}
			if saw := pgtest.Query(t, url, "SELECT "+test.saw+" FROM picloud.kv WHERE key = 'saw/looked-at'"); !slices.Equal(saw, []string{test.want}) {
				t.Errorf("its last run was about %v, want %s", saw, test.want)
			}
			if kind == "dead_letter" {
				if tried := pgtest.Query(t, url, "SELECT value FROM picloud.kv WHERE key LIKE 'tried/%'"); !slices.Equal(tried, []string{"3"}) {
					t.Errorf("the handler that fails was tried %v times, want 3", tried)
				}
				if letters := pgtest.Query(t, url, "SELECT body->>'reason', body->'what'->>'data' FROM picloud.definitions WHERE kind = 'dead-letter'"); !slices.Equal(letters, []string{"Error: on purpose knock"}) {
					t.Errorf("the dead letters in Postgres are %v", letters)
				}
			}
		})
	}
}
