package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/picloud/picloud/daemon"
)

func (c *cli) manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write the man pages into a directory", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { // #nosec G301 -- man pages are for everybody
				return fmt.Errorf("write man pages: %w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Section: "1", Source: "PiCloud " + version, Manual: "PiCloud"}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fmt.Errorf("write man pages: %w", err)
			}
			page := filepath.Join(args[0], "picloud.toml.5")
			if err := os.WriteFile(page, md2man.Render(configPage()), 0o644); err != nil { // #nosec G306 -- as above
				return fmt.Errorf("write man pages: %w", err)
			}
			return nil
		},
	}
}

// configPage is the page of the configuration file, from the table of settings.
func configPage() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "picloud.toml 5 \"\" \"PiCloud %s\" \"PiCloud\"\n==================================================\n\n", version)
	b.WriteString(`# NAME
picloud.toml - configuration of a PiCloud node

# SYNOPSIS
**/etc/picloud/picloud.toml**, **/etc/picloud/conf.d/\*.toml**

# DESCRIPTION
Read in this order, later ones winning: the defaults, the file, the files in
**conf.d** beside it by name, the environment, the flags of **picloud serve**.
An unknown name is an error. **picloud config check** reads everything and says
what is wrong, with file and line; **picloud config show** says what is in force.

The files are read again on SIGHUP and when they change, as a whole or not at
all. What is marked *live* is applied at once; the rest needs a restart, and the
log says so.

A name with a dot belongs to a table: **log.level** is the key **level** in the
table **[log]**, or **log.level = "debug"** outside of any.

# SETTINGS
`)
	for _, t := range settingTables() {
		for _, s := range t.settings {
			fmt.Fprintf(&b, "\n**%s**\n: %s %s", s.Key, s.Text, sentence(s.Form.String()))
			if s.Default != "" {
				fmt.Fprintf(&b, " Default: **%s**.", s.Default)
			}
			fmt.Fprintf(&b, " Variable **%s**", s.Env)
			if s.Flag != "" {
				fmt.Fprintf(&b, ", flag **--%s**", s.Flag)
			}
			b.WriteString(".")
			if s.Live {
				b.WriteString(" *Live*.")
			}
			b.WriteString("\n")
		}
	}
	b.WriteString(`
# PINS
The tables **hw.inputs.**_NAME_ and **hw.outputs.**_NAME_ give a line of the board a
name, by which keys and scripts of an app use it. They have no variables.
`)
	for i := range daemon.PinSettings {
		s := &daemon.PinSettings[i]
		fmt.Fprintf(&b, "\n**%s**\n: %s %s\n", s.Key, sentence(pinsOf(s)), s.Text)
	}
	b.WriteString(`
# SENSORS
The tables **hw.sensors.**_NAME_ describe sensors, whose readings are published as events.
They have no variables. **picloud hw scan** prints those of the sensors that it finds.
`)
	for _, s := range daemon.SensorSettings {
		of := ""
		if s.For != "" {
			of = " Drivers: " + s.For + "."
		}
		fmt.Fprintf(&b, "\n**%s**\n: %s%s\n", s.Key, s.Text, of)
	}
	b.WriteString(`
# EXAMPLE
	name = "workshop"
	trusted_proxies = ["192.168.1.2"]

	[retention]
	max_age_sec = 2592000

	[hw.outputs.lamp]
	line = "GPIO22"

	[hw.sensors.room]
	driver = "bme280"
	every = "30s"

# SEE ALSO
**picloud**(1), **picloud-serve**(1), **picloud-config**(1)
`)
	return b.Bytes()
}
