package main

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
)

func (c *cli) hwScanCommand() *cobra.Command {
	return &cobra.Command{
		Use: "scan", Short: "Search the board for sensors, and print what the configuration would say of them",
		Long: "Asks the addresses 0x08 to 0x77 of each I²C bus whether a device is there, as i2cdetect does: by a write\n" +
			"without data, and at 0x30 to 0x37 and 0x50 to 0x5f, where EEPROMs are, by reading one byte. Addresses that the\n" +
			"configuration or a driver of the kernel uses are listed and left alone. Devices of the 1-Wire bus, and channels\n" +
			"of IIO and hwmon, are found by the kernel's files. Which device has answered at an address is not known: where\n" +
			"several can be, all are printed, and one is to be chosen.",
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var b api.Scan
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/node/board/scan", nil, &b); err != nil {
				return err
			}
			if c.json {
				return c.print(b)
			}
			c.printf("%s", plainLines(scanText(b)))
			return nil
		},
	}
}

// scanText writes what was found as part of a configuration: what is known, and not for
// it, as comments.
func scanText(b api.Scan) string {
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	for _, hint := range b.Hints {
		line("# %s", hint)
	}
	for _, bus := range b.Buses {
		if bus.Fault == nil || len(bus.Devices) > 0 {
			line("# %s", busText(bus))
		}
		if bus.Fault != nil {
			line("# i2c-%d: %s", bus.Bus, *bus.Fault)
		}
		for _, d := range bus.Devices {
			switch {
			case d.User != nil:
				line("# %s: used by %s", d.Address, *d.User)
			case len(d.Drivers) == 0:
				line("# %s: answers, but there is no driver for a sensor at this address", d.Address)
			default:
				line("")
				line("[hw.sensors.%s-%d-%s]", d.Drivers[0], bus.Bus, strings.TrimPrefix(d.Address, "0x"))
				other := ""
				if len(d.Drivers) > 1 {
					other = " # or " + strings.Join(d.Drivers[1:], ", ")
				}
				line("driver = %q%s", d.Drivers[0], other)
				line("bus = %d", bus.Bus)
				line("address = %s", d.Address)
				line("every = \"10s\"")
				line("")
			}
		}
	}
	for i, f := range b.Files {
		line("")
		line("[hw.sensors.%s-%d] # %s", f.Driver, i+1, f.Device)
		line("driver = %q", f.Driver)
		line("path = %q", f.Path)
		line("every = \"10s\" # %s", f.Unit)
	}
	if len(b.Files) == 0 && !b.Simulated {
		line("# no device on the 1-Wire bus, no channel of IIO or hwmon")
	}
	return out.String()
}

// busText says how many addresses of a bus are in use.
func busText(bus api.ScannedBus) string {
	name := fmt.Sprintf("i2c-%d", bus.Bus)
	if bus.Adapter != "" {
		name += fmt.Sprintf(" (%s)", bus.Adapter)
	}
	if len(bus.Devices) == 1 {
		return name + ": 1 address in use"
	}
	return fmt.Sprintf("%s: %d addresses in use", name, len(bus.Devices))
}
