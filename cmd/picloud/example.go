package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/daemon"
)

func (c *cli) configExampleCommand() *cobra.Command {
	return &cobra.Command{
		Use: "example", Short: "Print a configuration file with every setting, commented out", Args: exactly(0),
		Example: "  picloud config example | sudo tee /etc/picloud/picloud.toml",
		RunE: func(*cobra.Command, []string) error {
			c.printf("%s", configExample())
			return nil
		},
	}
}

// settingTable is a table of the configuration file.
type settingTable struct {
	name     string // empty: the settings outside of tables
	settings []*daemon.Setting
}

// settingTables returns the settings in the order of a file: those outside of tables first.
func settingTables() []settingTable {
	tables := []settingTable{{}}
	for i := range daemon.Settings {
		s := &daemon.Settings[i]
		name := ""
		if dot := strings.LastIndexByte(s.Key, '.'); dot >= 0 {
			name = s.Key[:dot]
		}
		at := 0
		for at < len(tables) && tables[at].name != name {
			at++
		}
		if at == len(tables) {
			tables = append(tables, settingTable{name: name})
		}
		tables[at].settings = append(tables[at].settings, s)
	}
	return tables
}

// pinsOf says which pins a setting is for.
func pinsOf(s *daemon.PinSetting) string {
	switch {
	case !s.Outputs:
		return "inputs"
	case !s.Inputs:
		return "outputs"
	}
	return "inputs and outputs"
}

const exampleHead = `# Configuration of a PiCloud node. Every setting is here with its default, commented out: remove the # in
# front of a setting, and change it. picloud.toml(5) says more.
#
#   picloud config check        finds mistakes, with file and line
#   picloud config show         says what is in force
#
# Files in conf.d beside this one are read after it, by name; PICLOUD_ variables and flags win over both. What
# is marked "live" is applied when the file is saved; for the rest: systemctl restart picloud
`

const exampleTail = `
# Pins of the board, with names by which keys and scripts of an app use them. All that can be said of a pin is in
# picloud.toml(5).
#
#   [hw.inputs.door]
#   line = "GPIO17"       # as gpioinfo calls it
#   pull = "up"
#   invert = true         # on while the contact to ground is closed
#   topic = "door"        # publishes an event for each change
#
#   [hw.outputs.lamp]
#   line = "GPIO22"
#   follow = "lamp"       # set by the events of a topic: {"on": true}
#
# Sensors, whose readings are published as events. picloud hw scan prints such tables for those that it finds.
#
#   [hw.sensors.room]
#   driver = "bme280"
#   every = "30s"
`

// exampleWidth is the length of a line of prose in the example.
const exampleWidth = 110

// configExample returns the commented configuration file. A line that begins with # and no space
// after it is a setting.
func configExample() string {
	var b strings.Builder
	b.WriteString(exampleHead)
	for _, t := range settingTables() {
		if t.name != "" {
			fmt.Fprintf(&b, "\n[%s]\n", t.name)
		}
		for _, s := range t.settings {
			text := s.Text
			if s.Values != "" || s.Kind == daemon.KindNumber {
				text += " " + sentence(s.Form.String())
			}
			if s.Live {
				text += " Live."
			}
			b.WriteString("\n" + wrap(text, "# ", exampleWidth))
			fmt.Fprintf(&b, "#%s = %s\n", strings.TrimPrefix(s.Key, t.name+"."), s.TOML(s.Default))
		}
	}
	b.WriteString(exampleTail)
	return b.String()
}

// wrap breaks a text into lines of a width, each with a prefix.
func wrap(text, prefix string, width int) string {
	var b strings.Builder
	line := prefix
	for word := range strings.FieldsSeq(text) {
		if line != prefix && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			b.WriteString(line + "\n")
			line = prefix
		}
		if line != prefix {
			line += " "
		}
		line += word
	}
	b.WriteString(line + "\n")
	return b.String()
}
