package daemon_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/picloud/picloud/daemon"
)

// faultsOf loads a file and returns its faults, of which each has to name the file and a
// line of it.
func faultsOf(t *testing.T, text string) []string {
	t.Helper()
	file := write(t, map[string]string{"picloud.toml": text})
	_, err := daemon.Load(daemon.Source{File: file})
	if err == nil {
		return nil
	}
	list := strings.Split(strings.ReplaceAll(err.Error(), file, "FILE"), "\n")
	for _, fault := range list {
		if !placed.MatchString(fault) {
			t.Errorf("%s\nis refused without a line: %s", text, fault)
		}
	}
	return list
}

var placed = regexp.MustCompile(`^FILE:[1-9][0-9]*: `)

// OP-2, HW-2: what cannot work is refused with file and line, and each fault is told once.
func TestTablesThatCannotWork(t *testing.T) {
	t.Parallel()
	const sim = "hw.driver = 'sim'\n"
	const lamp = "[hw.outputs.a]\nline = 'GPIO1'\n"
	for text, want := range map[string]string{
		"[hw.inputs.bell]\n":                                               "FILE:1: hw.inputs.bell.line: say which line of the board it is",
		"[hw.outputs.lamp]\n#line = 'GPIO22'\n":                            "FILE:1: hw.outputs.lamp.line: say which line",
		"[hw.inputs]\n\nbell = {}\n":                                       "FILE:3: hw.inputs.bell.line: say which line",
		"\n[hw.sensors.room]\n":                                            "FILE:2: hw.sensors.room.driver: say which kind of sensor",
		"[hw.sensors]\nroom = {}\n":                                        "FILE:2: hw.sensors.room.driver: say which kind of sensor",
		"[hw.sensors.x]\ndriver = 'aht20'\n[hw.sensors.x.min_change]\n":    "FILE:3: hw.sensors.x.min_change: use a number, or one for each unit",
		"[hw.input.bell]\n":                                                "FILE:1: unknown table [hw.input.bell]; did you mean [hw.inputs.bell]?",
		"[retenshun]\nmax_events = 1\nmax_bytes = 1\n":                     "FILE:1: unknown table [retenshun]; did you mean [retention]?",
		"[listen]\nport = 1\n":                                             "FILE:1: listen is a setting, not a table",
		"[[hw.inputs.bell]]\nline = 'GPIO1'\n":                             "FILE:1: a list of tables does not fit here: write [hw.inputs.bell]",
		"[hw.inputs]\nline = 'GPIO17'\npull = 'up'\n":                      "FILE:2: hw.inputs: the settings of a pin are in a table with its name: write [hw.inputs.NAME]",
		"[hw.sensors]\ndriver = 'aht20'\n":                                 "FILE:2: hw.sensors: the settings of a sensor are in a table with its name: write [hw.sensors.NAME]",
		"[hw]\ninputs = 'GPIO17'\n":                                        "FILE:2: hw.inputs: the settings of a pin are in a table with its name",
		"[hw.sensors.my_room]\ndriver = 'aht20'\nbus = 1\nevery = '10s'\n": "FILE:1: hw.sensors.my_room: \"my_room\" cannot be the name of a sensor",
		"[hw.inputs.Bell]\nline = 'GPIO1'\npull = 'up'\n":                  "FILE:1: hw.inputs.Bell: \"Bell\" cannot be the name of a pin",

		"[hw.inputs.a]\nline = ''\n":                                                    "FILE:2: hw.inputs.a.line: say which line",
		"[hw.inputs.a]\nline = ' '\n":                                                   "FILE:2: hw.inputs.a.line: \" \"",
		"[hw.inputs.a]\nline = 'GPIO1 '\n":                                              "FILE:2: hw.inputs.a.line: \"GPIO1 \"",
		"[hw.inputs.a]\nline = \"GPIO1\\u0000\"\n":                                      "FILE:2: hw.inputs.a.line: \"GPIO1\\x00\"",
		"[hw.inputs.a]\nline = 'gpiochip0:-1'\n":                                        "FILE:2: hw.inputs.a.line: \"gpiochip0:-1\"",
		"[hw.inputs.a]\nline = 'gpiochip0:x'\n":                                         "FILE:2: hw.inputs.a.line: \"gpiochip0:x\"",
		"[hw.inputs.a]\nline = 'gpiochip0:70000'\n":                                     "FILE:2: hw.inputs.a.line: \"gpiochip0:70000\"",
		"[hw.inputs.a]\nline = 'gpiochip0'\n":                                           "FILE:2: hw.inputs.a.line: \"gpiochip0\"",
		"[hw.inputs.a]\nline = ':17'\n":                                                 "FILE:2: hw.inputs.a.line: \":17\"",
		"[hw.inputs.a]\nline = '/dev/gpiochip0:17'\n":                                   "FILE:2: hw.inputs.a.line: \"/dev/gpiochip0:17\"",
		"[hw.inputs.a]\nline = '../../etc/passwd:1'\n":                                  "FILE:2: hw.inputs.a.line: \"../../etc/passwd:1\"",
		"[hw.inputs.a]\nline = '" + strings.Repeat("x", 32) + "'\n":                     "FILE:2: hw.inputs.a.line: ",
		"[hw.inputs.a]\nline = 'gpiochip0:17'\n[hw.inputs.b]\nline = 'gpiochip0:017'\n": "FILE:4: hw.inputs.b.line: it has the line gpiochip0:17, as hw.inputs.a has",

		lamp + "follow_path = '/x'\n":                                        "FILE:3: hw.outputs.a.follow_path: name the topic in follow, too",
		lamp + "app = 'shop'\nfollow = '$board/power'\n":                     "FILE:4: hw.outputs.a.follow: $board/power is a topic of the app default",
		sim + "[hw.inputs.x]\nline = 'a'\n" + "[hw.outputs.x]\nline = 'b'\n": "FILE:4: hw.outputs.x: hw.inputs.x has this name, too",

		"[hw.sensors.a]\ndriver = 'file'\npath = '/sys/x'\nscale = 0\n":                             "FILE:4: hw.sensors.a.scale: \"0\": use a number other than 0",
		"[hw.sensors.a]\ndriver = 'iio'\npath = '/sys/foo'\n":                                       "FILE:3: hw.sensors.a.path: \"/sys/foo\" is no channel of iio",
		"[hw.sensors.a]\ndriver = 'hwmon'\npath = '/sys/bus/iio/devices/iio:device0/in_temp_raw'\n": "FILE:3: hw.sensors.a.path: \"/sys/bus/iio/devices/iio:device0/in_temp_raw\" is no channel of hwmon",
		"[hw.sensors.a]\ndriver = 'file'\npath = \"/run/a\\u0000b\"\noutside_sys = true\n":          "FILE:3: hw.sensors.a.path: \"/run/a\\x00b\": use no control characters",
		"secrets.key_file = \"/run/a\\u0000b\"\n":                                                   "FILE:1: secrets.key_file: \"/run/a\\x00b\": use no control characters",

		"\ndata = ''\n":                                  "FILE:2: data: give a directory",
		"\nlisten = 'localhost'\n":                       "FILE:2: listen: \"localhost\"",
		"\ncluster = 'postgres'\n":                       "FILE:2: cluster: \"postgres\" needs database.url",
		"[subscriber_token]\n\nttl_min_sec = 7200\n":     "FILE:1: subscriber_token: the default",
		"scripts.http_hosts = ['good.example', 'a b']\n": "FILE:1: scripts.http_hosts: ",
	} {
		list := faultsOf(t, text)
		if len(list) != 1 || !strings.HasPrefix(list[0], want) {
			t.Errorf("%s\ngot  %q\nwant %q", text, list, want)
		}
	}
	if list := faultsOf(t, "scripts.http_hosts = ['c d', 'a b']\n"); len(list) != 2 {
		t.Errorf("two wrong hosts are told as %q", list)
	}
}

// HW-2, HW-4: what can work is taken: names of lines with blanks and colons, chips by their labels,
// channels by any of the paths that lead to them.
func TestTablesThatCanWork(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"GPIO17", "P9_22 [spi0_sclk]", "pinctrl-bcm2711:4", "INT34C5:00:17", "fe200000.gpio:0", "sda:alt", "gpiochip0:65535", strings.Repeat("x", 31)} {
		if list := faultsOf(t, "[hw.inputs.a]\nline = '"+line+"'\n"); list != nil {
			t.Errorf("%s: %q", line, list)
		}
	}
	for path, driver := range map[string]string{
		"/sys/bus/iio/devices/iio:device*/in_temp_input":                "iio",
		"/sys/bus/i2c/devices/1-0076/iio:device*/in_pressure_input":     "iio",
		"/sys/class/hwmon/hwmon*/temp1_input":                           "hwmon",
		"/sys/bus/i2c/devices/1-0048/hwmon/hwmon*/temp1_input":          "hwmon",
		"/sys/devices/virtual/thermal/thermal_zone0/hwmon0/temp1_input": "hwmon",
	} {
		if list := faultsOf(t, "[hw.sensors.a]\ndriver = '"+driver+"'\npath = '"+path+"'\n"); list != nil {
			t.Errorf("%s: %q", path, list)
		}
	}
	if list := faultsOf(t, "[hw.inputs]\n[hw]\n[retention]\n"); list != nil {
		t.Errorf("tables with nothing to forget: %q", list)
	}
}

// OP-2: of a setting that is given more than once the place is told that counts.
func TestFaultsNameThePlaceThatCounts(t *testing.T) {
	t.Parallel()
	file := write(t, map[string]string{"picloud.toml": "listen = '1.2.3.4:5'\n", "conf.d/10.toml": "\nlisten = 'nowhere'\n"})
	src := daemon.Source{File: file}
	if _, err := daemon.Load(src); err == nil || !strings.Contains(err.Error(), "conf.d/10.toml:2: listen: \"nowhere\"") {
		t.Errorf("%v", err)
	}
	src.Env = []string{"PICLOUD_LISTEN=elsewhere"}
	if _, err := daemon.Load(src); err == nil || !strings.HasPrefix(err.Error(), "PICLOUD_LISTEN: listen: \"elsewhere\"") {
		t.Errorf("%v", err)
	}
	src.Flags = map[string]string{"listen": "afar"}
	if _, err := daemon.Load(src); err == nil || !strings.HasPrefix(err.Error(), "--listen: listen: \"afar\"") {
		t.Errorf("%v", err)
	}
}
