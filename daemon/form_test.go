package daemon_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/daemon"
)

// tomlValues are values of every type that TOML has, as a file may have them by mistake.
var tomlValues = []struct{ typ, text string }{
	{"text", `"1"`},
	{"text", `'true'`},
	{"text", `"""a"""`},
	{"integer", "1"},
	{"integer", "0x10"},
	{"integer", "-1_0"},
	{"integer", "99999999999999999999"},
	{"float", "1.5"},
	{"float", "1e3"},
	{"float", "nan"},
	{"float", "-inf"},
	{"switch", "true"},
	{"switch", "false"},
	{"time", "1979-05-27"},
	{"time", "07:32:00"},
	{"time", "1979-05-27T07:32:00"},
	{"time", "1979-05-27T07:32:00Z"},
	{"list", `["a.example"]`},
	{"odd list", "[1]"},
	{"odd list", "[[1]]"},
	{"odd list", `["a.example", true]`},
	{"odd list", `[""]`},
	{"odd list", `[" "]`},
	{"odd list", `["a.example,b.example"]`},
	{"odd list", "[{a = 1}]"},
	{"table", "{a = 1}"},
	{"table", "{}"},
}

// takes lists the types that the value of a setting may have.
var takes = map[daemon.Kind][]string{
	daemon.KindText:    {"text"},
	daemon.KindList:    {"list"},
	daemon.KindSwitch:  {"switch"},
	daemon.KindNumber:  {"integer"},
	daemon.KindDecimal: {"integer", "float"},
	daemon.KindChannel: {"text", "integer"},
}

// OP-2: a value of a type that its setting does not have is a fault at its line, for every
// setting and every type, in its own table and with its whole name, in the main file and the others.
func TestValuesOfTheWrongType(t *testing.T) {
	t.Parallel()
	try := func(t *testing.T, key string, kind daemon.Kind, text func(value string) string) {
		t.Helper()
		if takes[kind] == nil {
			t.Fatalf("%s has the kind %q", key, kind)
		}
		for _, v := range tomlValues {
			if slices.Contains(takes[kind], v.typ) || key == "hw.sensors.x.min_change" && v.typ == "table" {
				continue
			}
			list := faultsOf(t, text(v.text))
			prefixed := func(p string) bool { return len(list) > 0 && strings.HasPrefix(list[0], "FILE:2: "+key+p) }
			if len(list) > 1 && v.typ != "odd list" || !prefixed(": ") && !prefixed(" is a setting, not a table; use ") {
				t.Errorf("%s = %s is told as %q", key, v.text, list)
			}
			for _, fault := range list {
				if !strings.Contains(fault, "use ") && !strings.Contains(fault, "empty") {
					t.Errorf("%s = %s: nothing is said about what to use: %s", key, v.text, fault)
				}
			}
		}
	}
	for i := range daemon.Settings {
		s := &daemon.Settings[i]
		try(t, s.Key, s.Kind, func(value string) string { return "\n" + s.Key + " = " + value + "\n" })
	}
	for i := range daemon.PinSettings {
		s := &daemon.PinSettings[i]
		table := "hw.outputs.x"
		if s.Inputs {
			table = "hw.inputs.x"
		}
		line := "line = 'GPIO1'\n"
		if s.Key == "line" {
			line = ""
		}
		try(t, table+"."+s.Key, s.Kind, func(value string) string {
			return fmt.Sprintf("[%s]\n%s = %s\n%s", table, s.Key, value, line)
		})
	}
	for i := range daemon.SensorSettings {
		s := &daemon.SensorSettings[i]
		try(t, "hw.sensors.x."+s.Key, s.Kind, func(value string) string {
			return fmt.Sprintf("[hw.sensors.x]\n%s = %s\n", s.Key, value)
		})
	}
}

// OP-2: each fault says which setting it is about and what that takes, also where the line is no TOML.
func TestFaultsSayWhatIsAllowed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"[http]\nmax_uploads = \"1\"\n":                     "FILE:2: http.max_uploads: \"1\": use a whole number, 1 to 10000, without quotes",
		"[publish]\nmax_bytes = 99999999999999999999\n":     "FILE:2: publish.max_bytes: \"99999999999999999999\": use a whole number from 1 to 1048576",
		"publish.max_bytes = 08\n":                          "FILE:1: publish.max_bytes: toml: integers cannot have leading zeroes; use a whole number of bytes, 1 to 1048576",
		"[hw.sensors.x]\nscale = 1__0\n":                    "FILE:2: hw.sensors.x.scale: toml: number must have at least one digit between underscores; use a number, -1e+12 to 1e+12",
		"[hw.inputs.x]\nline = GPIO1\n":                     "FILE:2: hw.inputs.x.line: toml: ",
		"log.level = loud\n":                                "FILE:1: log.level: toml: ",
		"log.level = 'INFO+3'\n":                            "FILE:1: log.level: \"INFO+3\": use debug, info, warn or error",
		"name = \"" + strings.Repeat("x", 10) + "\\q\"\n":   "FILE:1: name: toml: invalid escape character U+0071 'q'; use a text in quotes",
		"http.tls_key = nan\n":                              "FILE:1: http.tls_key: nan: use a text in quotes",
		"trusted_proxies = '10.0.0.1'\n":                    "FILE:1: trusted_proxies: \"10.0.0.1\": use a list of texts, such as [\"one\", \"two\"]",
		"trusted_proxies = ['10.0.0.1', 5]\n":               "FILE:1: trusted_proxies: 5: use texts in quotes as entries of the list",
		"http.allowed_hosts = [\"a,b\"]\n":                  "FILE:1: http.allowed_hosts: \"a,b\": use an entry of the list for each",
		"retention = 5\n":                                   "FILE:1: retention is a table of settings: write [retention]",
		"http = [1]\n":                                      "FILE:1: http is a table of settings: write [http]",
		"http.max_uploads = {a = 1}\n":                      "FILE:1: http.max_uploads is a setting, not a table; use a whole number, 1 to 10000",
		"[hw.sensors.x.every]\nseconds = 1\n":               "FILE:1: hw.sensors.x.every is a setting, not a table; use a text in quotes, a time from 100ms to 24h",
		"database.url = ['postgres://u:geheim@h/d']\n":      "FILE:1: database.url: a list: use a text in quotes",
		"name = \"a\"\nname = \"b\"\n[http]\n":              "FILE:2: name: toml: key name is already defined",
		"[http]\nmax_uploads = 1\nmax_uploads = 2\n[log]\n": "FILE:3: http.max_uploads: toml: key max_uploads is already defined",
	} {
		list := faultsOf(t, text)
		if len(list) != 1 || !strings.HasPrefix(list[0], want) {
			t.Errorf("%s\ngot  %q\nwant %q", text, list, want)
		}
	}
}

// Numbers may be written in every way that TOML has.
func TestNumbersAreReadAsTOMLHasThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"65_536": 65536, "0x1_0000": 65536, "0o200000": 65536, "0b10000000000000000": 65536, "+65536": 65536} {
		c, err := daemon.Load(daemon.Source{File: write(t, map[string]string{"picloud.toml": "publish.max_bytes = " + text + "\n"})})
		if err != nil || c.PublishMaxBytes != want {
			t.Errorf("%s is read as %d, %v", text, c.PublishMaxBytes, err)
		}
	}
	if c, err := daemon.Load(daemon.Source{File: "/dev/null", Env: []string{"PICLOUD_PUBLISH_MAX_BYTES=010"}}); err != nil || c.PublishMaxBytes != 10 {
		t.Errorf("a variable is read as %d, %v", c.PublishMaxBytes, err)
	}
}
