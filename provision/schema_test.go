package provision_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/provision"
)

// schema compiles the schema of app.toml with a library that knows nothing of ours.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(provision.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("app.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("app.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fits holds a file against a schema.
func fits(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	var file map[string]any
	if err := toml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	b, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

// keysOf lists the keys that a type is read from, with the types that they have.
func keysOf(path string, typ reflect.Type) map[string]provision.Type {
	keys := map[string]provision.Type{}
	for _, f := range reflect.VisibleFields(typ) {
		name := f.Tag.Get("toml")
		if name == "-" {
			continue
		}
		at, of := strings.TrimPrefix(path+"."+name, "."), f.Type
		if of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		inner := ""
		switch of.Kind() {
		case reflect.String:
			keys[at] = provision.TypeText
		case reflect.Slice:
			keys[at] = provision.TypeTexts
		case reflect.Bool:
			keys[at] = provision.TypeSwitch
		case reflect.Float64:
			keys[at] = provision.TypeSeconds
		case reflect.Struct:
			keys[at], inner = provision.TypeTable, at
		case reflect.Map:
			keys[at], inner, of = provision.TypeNamed, at+".*", of.Elem()
		default:
			keys[at] = provision.TypeInteger
		}
		if inner != "" {
			maps.Copy(keys, keysOf(inner, of))
		}
	}
	return keys
}

// The table has every key that the file is read into, with its type, and no other.
func TestKeysAreThoseOfTheParser(t *testing.T) {
	t.Parallel()
	got := map[string]provision.Type{}
	for i := range provision.Keys {
		got[provision.Keys[i].Path] = provision.Keys[i].Type
	}
	if diff := cmp.Diff(keysOf("", reflect.TypeFor[api.Spec]()), got); diff != "" {
		t.Error(diff)
	}
}

// The schema accepts the apps of the examples, and each example of docs/apps.md, as the parser does.
func TestSchemaAcceptsTheExamples(t *testing.T) {
	t.Parallel()
	s := schema(t)
	files, err := filepath.Glob("../examples/*/app.toml")
	if err != nil || len(files) < 7 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	texts := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts[f] = string(b)
	}
	doc, err := os.ReadFile("../docs/apps.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(doc), -1) {
		texts["docs/apps.md: "+block[1]] = block[1]
	}
	for name, text := range texts {
		if err := fits(t, s, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		d := toml.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(new(api.Spec)); err != nil {
			t.Errorf("%s: the parser: %v", name, err)
		}
	}
}

// What picloud apply refuses for its shape the schema refuses, too.
func TestSchemaRefusesWhatApplyRefuses(t *testing.T) {
	t.Parallel()
	s := schema(t)
	const trigger, endpoint = "[triggers.t]\nscript = \"a\"\n", "[endpoints.e]\nscript = \"a\"\n"
	for _, text := range []string{
		"nme = \"x\"", "name = 7", "name = \"UPPER\"", "description = true", "prune = 1", "allowed_origins = \"*\"",
		"allowed_origins = [\"panel.example\"]", "allowed_origins = [\"https://panel.example/\"]",
		"description = \"" + strings.Repeat("x", 1025) + "\"",
		"[topics.\"a b\"]", "[topics.t]\nauth = \"public\"", "[topics.t]\nauth_mode = \"anybody\"", "[topics.t]\ndurability = \"pending\"", "[topics.t]\nexternal = \"yes\"",
		"[topics.t]\nretention.max_events = -1", "[topics.t]\nretention.max_days = 1", "[topics.t]\nretention.max_events = 1.5",
		"[collections.\"a/b\"]", "[collections.c]\nindexes = [\"\"]", "[collections.c]\nindexes = [\"a..b\"]", "[collections.c]\nindex = []",
		trigger + "kind = \"smoke\"", trigger + "kind = \"http\"", trigger + "kind = \"kv\"\nscrpt = \"a\"", "[triggers.t]\nkind = \"kv\"", "[triggers.\"-t\"]\nkind = \"kv\"\nscript = \"a\"",
		trigger + "kind = \"kv\"\ntopic = \"door\"", trigger + "kind = \"pubsub\"\ntopic = \"a\"\nprefix = \"b\"", trigger + "kind = \"pubsub\"\ntopic = \"a*\"",
		trigger + "kind = \"cron\"", trigger + "kind = \"cron\"\nschedule = \"@daily\"\ncatch_up = \"all\"", trigger + "kind = \"docs\"\nprefix = \"a\"",
		trigger + "kind = \"kv\"\nretry.attempts = 101", trigger + "kind = \"kv\"\nretry.first_sec = 90000", trigger + "kind = \"kv\"\nconcurrency = 65",
		trigger + "kind = \"kv\"\ntimeout_sec = 601", trigger + "kind = \"kv\"\ntimeout_sec = \"30s\"", trigger + "kind = \"kv\"\nconcurrency = -1",
		endpoint, endpoint + "path = \"x\"", "[endpoints.e]\npath = \"/x\"", endpoint + "path = \"/x\"\nmethod = \"get\"", endpoint + "path = \"/x\"\nauth = \"token\"",
		endpoint + "path = \"/x\"\ntimeout_sec = 31", endpoint + "path = \"/x?y\"",
	} {
		if fits(t, s, text) == nil {
			t.Errorf("the schema accepts %q", text)
		}
		sp, err := provision.Read(folder(t, map[string]string{"app.toml": text, "a.js": "// a"}))
		if err == nil {
			_, err = provision.Plan(t.Context(), open(t), provision.Checks{}, sp)
		}
		if err == nil {
			t.Errorf("apply accepts %q", text)
		}
	}
}

// Which keys a kind of trigger has, the schema says as apply does.
func TestSchemaKnowsTheKindsOfTriggers(t *testing.T) {
	t.Parallel()
	s := schema(t)
	st := open(t)
	kinds := []string{"pubsub", "kv", "docs", "files", "cron", "dead_letter"}
	fields := map[string]string{"topic": "x", "prefix": "x", "collection": "x", "schedule": "@daily", "time_zone": "UTC", "catch_up": "one", "source": "x"}
	for _, kind := range kinds {
		for field, value := range fields {
			text := "[triggers.t]\nscript = \"a\"\nkind = \"" + kind + "\"\n" + field + " = \"" + value + "\"\n"
			if kind == "cron" && field != "schedule" {
				text += "schedule = \"@daily\"\n"
			}
			sp, err := provision.Read(folder(t, map[string]string{"app.toml": text, "a.js": "// a"}))
			if err == nil {
				_, err = provision.Plan(t.Context(), st, provision.Checks{}, sp)
			}
			if said := fits(t, s, text); (said == nil) != (err == nil) {
				t.Errorf("%s with %s: the schema says %v, apply %v", kind, field, said, err)
			}
		}
	}
}
