package daemon_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/hw"
)

// write puts files below a directory and returns the main one's path.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "picloud.toml")
}

// OP-2: defaults, file, conf.d in order, environment, flags; later ones win.
func TestLaterSourcesWin(t *testing.T) {
	t.Parallel()
	file := write(t, map[string]string{
		"picloud.toml":    "name = \"file\"\nlisten = \"1.2.3.4:1\"\ntrusted_proxies = [\"10.0.0.0/8\", \"192.168.1.1\"]\n[realtime]\nheartbeat_sec = 1_5\n[publish]\nmax_bytes = 1000\n",
		"conf.d/20.toml":  "[publish]\nmax_bytes = 3000\n",
		"conf.d/10.toml":  "publish.max_bytes = 2000\nname = \"conf.d\"\n",
		"conf.d/note.txt": "not read",
	})
	c, err := daemon.Load(daemon.Source{
		File: file, Env: []string{"PATH=/bin", "PICLOUD_NAME=env", "PICLOUD_LISTEN=5.6.7.8:2", "PICLOUD_KEY=x"},
		Flags: map[string]string{"listen": "9.9.9.9:3", "data": "/somewhere"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "env" || c.Listen != "9.9.9.9:3" || c.PublishMaxBytes != 3000 || c.Heartbeat != 15*time.Second ||
		len(c.TrustedProxies) != 2 || c.Data != "/somewhere" || c.Capacity != 64 || c.SocketPath() != "/somewhere/picloud.sock" {
		t.Errorf("%+v", c)
	}
}

// OP-2: every fault names where it is, and all are told at once.
func TestFaultsNameTheirPlace(t *testing.T) {
	t.Parallel()
	file := write(t, map[string]string{
		"picloud.toml": "listen = \"x\"\n\n[realtime]\nheartbeat_sec = 0\nheartbeat_secs = 1\ncolour = true\n[publish]\nmax_bytes = \"many\"\n",
	})
	_, err := daemon.Load(daemon.Source{File: file, Env: []string{"PICLOUD_LISTENS=x", "PICLOUD_LOG_LEVEL=loud"}, Flags: map[string]string{}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		file + ":4: realtime.heartbeat_sec: \"0\"",
		file + ":5: unknown setting \"realtime.heartbeat_secs\"; did you mean realtime.heartbeat_sec?",
		file + ":6: unknown setting \"realtime.colour\"",
		file + ":8: publish.max_bytes: \"many\"",
		"unknown variable PICLOUD_LISTENS; did you mean PICLOUD_LISTEN?",
		"PICLOUD_LOG_LEVEL: \"loud\"",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

// Names for the Host header are taken in any case and with a dot at the end; what no
// Host can be is refused.
func TestAllowedHosts(t *testing.T) {
	t.Parallel()
	c, err := daemon.Load(daemon.Source{Env: []string{"PICLOUD_HTTP_ALLOWED_HOSTS=Pi.Example.org., *.example.org,pi_4"}})
	if want := []string{"pi.example.org", "*.example.org", "pi_4"}; err != nil || !slices.Equal(c.AllowedHosts, want) {
		t.Errorf("%q, %v, want %q", c.AllowedHosts, err, want)
	}
	for _, host := range []string{"*", "pi.example.org:443", "https://pi.example.org", "*example.org", "a.*.org", "a..b", "[::1]", "a b"} {
		if _, err := daemon.Load(daemon.Source{Env: []string{"PICLOUD_HTTP_ALLOWED_HOSTS=" + host}}); err == nil || !strings.Contains(err.Error(), "use a name such as") {
			t.Errorf("%q: %v", host, err)
		}
	}
}

// OP-9: settings of TLS that cannot work together are told before the node starts.
func TestTLSSettings(t *testing.T) {
	t.Parallel()
	const pair = "[http]\ntls_cert = \"/c\"\ntls_key = \"/k\"\n"
	for text, want := range map[string]string{
		pair:                                     "",
		"[http]\ntls_cert = \"/c\"\n":            "http.tls_key belong together",
		"[http]\ntls_key = \"/k\"\n":             "http.tls_key belong together",
		pair + "tls_listen = \"7443\"\n":         "use an address and a port",
		pair + "tls_listen = \"0.0.0.0:7420\"\n": "HTTP has this port",
	} {
		_, err := daemon.Load(daemon.Source{File: write(t, map[string]string{"picloud.toml": text})})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	if _, err := daemon.Load(daemon.Source{File: "/nowhere/picloud.toml"}); err == nil {
		t.Error("a file that was named is missing, and nobody says so")
	}
	file := write(t, map[string]string{"picloud.toml": "name = \"a\"\nname = \"b\"\n"})
	if _, err := daemon.Load(daemon.Source{File: file}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("duplicate key: %v", err)
	}
	file = write(t, map[string]string{"picloud.toml": "= nothing"})
	if _, err := daemon.Load(daemon.Source{File: file}); err == nil || !strings.Contains(err.Error(), file+":1") {
		t.Errorf("no TOML: %v", err)
	}
}

// The bounds between settings are checked too.
func TestTokenTimesMustFit(t *testing.T) {
	t.Parallel()
	_, err := daemon.Load(daemon.Source{File: write(t, map[string]string{"picloud.toml": "subscriber_token.ttl_min_sec = 7200\n"})})
	if err == nil || !strings.Contains(err.Error(), "subscriber_token") {
		t.Errorf("%v", err)
	}
}

// Pins are tables; what does not fit is told with its line.
func TestPinsAreRead(t *testing.T) {
	t.Parallel()
	c, err := daemon.Load(daemon.Source{File: write(t, map[string]string{"picloud.toml": `
[hw.inputs.door]
line = "GPIO17"
pull = "up"
invert = true
[hw.outputs]
lamp = { line = "gpiochip0:22", app = "porch", start = "on", follow = "door" }
pump = { line = "gpiochip0:23", min_interval = "1m" }
`})})
	want := []hw.PinConfig{
		{App: "default", Name: "door", Line: "GPIO17", Pull: "up", Invert: true},
		{App: "porch", Name: "lamp", Line: "gpiochip0:22", Output: true, Start: true, Follow: "door", FollowPath: "/on", MinInterval: 100 * time.Millisecond},
		{App: "default", Name: "pump", Line: "gpiochip0:23", Output: true, FollowPath: "/on", MinInterval: time.Minute},
	}
	if err != nil || !slices.Equal(c.Pins, want) {
		t.Fatalf("%+v, %v", c.Pins, err)
	}
	for _, line := range []string{"hw.inputs.door.invert              true", "hw.outputs.lamp.start              on", "hw.outputs.pump.min_interval       1m0s"} {
		if !strings.Contains(c.Show(), line+"\n") {
			t.Errorf("%q is not shown:\n%s", line, c.Show())
		}
	}
	if live, restart := daemon.Changed(daemon.DefaultConfig(), c); len(live) != 0 || !slices.Equal(restart, []string{"hw.inputs", "hw.outputs"}) {
		t.Errorf("changed: %v, %v", live, restart)
	}
	for text, want := range map[string]string{
		"[hw.outputs.lamp]\nline = 'GPIO1'\npull = 'up'":                                     ":3: hw.outputs.lamp.pull: unknown setting of a pin; there are line, app, invert, start, stop, follow, follow_path, min_interval",
		"[storage]\nsegment_bytes = 9223372036854775807":                                     ":2: storage.segment_bytes: \"9223372036854775807\": use a whole number of bytes, 65536 to 1073741824",
		"[hw.outputs.lamp]\nline = 'GPIO1'\nmin_interval = '2h'":                             ":3: hw.outputs.lamp.min_interval: \"2h\": use a time from 0s to 1h with its unit",
		"[hw.outputs.lamp]\nline = 'GPIO1'\nmin_interval = '-1s'":                            ":3: hw.outputs.lamp.min_interval: \"-1s\": use a time from 0s to 1h with its unit",
		"[hw.outputs.lamp]\nline = 'GPIO1'\nmin_interval = 5":                                ":3: hw.outputs.lamp.min_interval: 5: use a text in quotes, a time from 0s to 1h",
		"[hw.outputs.lamp]\nline = 'GPIO1'\nstart = true":                                    ":3: hw.outputs.lamp.start: true: use a text in quotes, \"on\" or \"off\"",
		"[hw.inputs.lamp]\nline = 'GPIO1'\nfollow = 'door'":                                  ":3: hw.inputs.lamp.follow: unknown setting of a pin",
		"[hw.outputs.lamp]\nline = 'GPIO1'\nfollow = 'a b'":                                  ":3: hw.outputs.lamp.follow: The topic name is not valid: byte 2",
		"[hw.outputs.lamp]\nline = 'GPIO1'\nfollow = ''":                                     ":3: hw.outputs.lamp.follow: The topic name is not valid: the name is empty",
		"[hw.outputs.lamp]\nline = 'GPIO1'\nfollow = '$node/stats'":                          ":3: hw.outputs.lamp.follow: $node/stats is a state",
		"[hw.outputs.lamp]\nline = 'GPIO1'\nfollow = '$other'":                               ":3: hw.outputs.lamp.follow: Topic names beginning with '$' belong to the system",
		"[hw.outputs.lamp]\nline = 'GPIO1'\nfollow = '$node/sync'\napp = 'porch'":            "hw.outputs.lamp.follow: $node/sync is a topic of the app default, and the pin belongs to porch",
		"[hw.outputs.lamp]\nline = 'GPIO1'\nfollow = 'door'\nfollow_path = 'data.on'":        ":4: hw.outputs.lamp.follow_path: \"data.on\" is no JSON pointer",
		"[hw.outputs.lamp]\nline = 'GPIO1'\nfollow_path = '/lit'":                            "hw.outputs.lamp.follow_path: name the topic in follow, too",
		"[hw.inputs.'Front Door']\nline = 'GPIO1'":                                           "cannot be the name of a pin",
		"[hw.inputs.door]\npull = 'up'":                                                      ":1: hw.inputs.door.line: say which line",
		"[hw.inputs.door]\nline = 'GPIO1'\n[hw.outputs.lamp]\nline = 'GPIO1'":                ":4: hw.outputs.lamp.line: it has the line GPIO1, as hw.inputs.door has",
		"hw.driver = 'sim'\n[hw.inputs.x]\nline = 'a'\n[hw.outputs.x]\nline = 'b'":           "need different names",
		"[hw.inputs.door]\nline = 'GPIO1'\npull = 'sideways'\napp = 'Not A Name'":            "\"sideways\": use up or down or none",
		"retention = { max_events = 0 }\n[hw.inputs]\ndoor = { line = 'GPIO1', pul = 'up' }": ":3: hw.inputs.door.pul: unknown setting of a pin",
	} {
		if _, err := daemon.Load(daemon.Source{File: write(t, map[string]string{"picloud.toml": text})}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestShowListsEverySetting(t *testing.T) {
	t.Parallel()
	text := daemon.DefaultConfig().Show()
	for _, s := range daemon.Settings {
		if !strings.Contains(text, s.Key+" ") {
			t.Errorf("%s is not shown", s.Key)
		}
		if s.Env != "PICLOUD_"+strings.ToUpper(strings.ReplaceAll(s.Key, ".", "_")) {
			t.Errorf("%s has the variable %s", s.Key, s.Env)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("name = \"x\"\n[log]\nlevel = \"debug\"\n")
	f.Add("a.b = [1, [2]]\n")
	f.Add("data = 1979-05-27\n")
	f.Add("[hw.outputs]\nlamp = { line = \"GPIO22\", start = \"on\" }\n")
	f.Add("[hw.inputs.bell]\n[hw.sensors]\nx = {}\n[hw.outputs.y]\nfollow_path = \"/x\"\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(dir, "f.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := daemon.Load(daemon.Source{File: path})
		if list, ok := err.(interface{ Unwrap() []error }); ok {
			for _, fault := range list.Unwrap() {
				if !strings.HasPrefix(fault.Error(), path+":") {
					t.Errorf("a fault without a line: %v", fault)
				}
			}
		}
	})
}
