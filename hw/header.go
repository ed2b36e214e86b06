package hw

import (
	"errors"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/picloud/picloud/board"
)

// Header returns the header of this board and what is on its pins. The levels of lines
// that are not the node's are unknown: reading them would change them.
func (b *Board) Header() board.Header {
	h := board.Header{Simulated: b.cfg.Driver == DriverSim, Pins: []board.HeaderPin{}, Missing: []board.Missing{}}
	var contacts []contact
	if h.Simulated {
		var p board.Health
		simulatedModel(&p)
		h.Model, contacts = p.Model, header40
	} else if h.Model = b.health.model(); h.Model != nil {
		contacts = headerOf(*h.Model)
	}
	if contacts == nil {
		h.Missing = append(h.Missing, b.unknownHeader(h.Model))
		return h
	}
	var chip chipLines
	if h.Simulated {
		chip = simChip()
	} else if l, ok := b.chips.(lister); ok {
		var err error
		if chip, err = l.list(headerChips); err != nil {
			h.Missing = append(h.Missing, board.Missing{What: "chip", Why: err.Error(), Fix: chipFix(err)})
		}
	}
	h.Chip = chip.label
	for i := range contacts {
		h.Pins = append(h.Pins, b.headerPin(i+1, &contacts[i], &chip))
	}
	return h
}

// unknownHeader says why there is no header to draw.
func (b *Board) unknownHeader(model *string) board.Missing {
	m := board.Missing{What: "header", Fix: "Name lines as 'gpioinfo' lists them; headers of Raspberry Pis are drawn."}
	switch {
	case model == nil:
		why, fix := b.health.why(deviceTree+"/model", "sys/class/dmi/id/product_name")
		m.Why = "the model is unknown: " + why
		if fix != "" {
			m.Fix = fix
		}
	case isPi(model):
		m.Why = *model + " is a module: its header depends on the board that it is plugged into"
	default:
		m.Why = *model + " is no Raspberry Pi"
	}
	return m
}

// chipFix says what to do about a GPIO chip that cannot be listed.
func chipFix(err error) string {
	if errors.Is(err, errNoChip) {
		return "A container needs the device: 'docker run --device /dev/gpiochip0'. Otherwise the kernel's driver is missing: 'gpiodetect' lists chips."
	}
	return "Let the user of the node join the group of the device, as in 'usermod -aG gpio picloud', and restart the node."
}

// headerPin returns a pin of the header.
func (b *Board) headerPin(n int, c *contact, chip *chipLines) board.HeaderPin {
	h := board.HeaderPin{Number: n, Name: c.name, Function: c.function, Use: board.UseUnknown}
	switch {
	case c.line < 0 && c.name == ground:
		h.Use = board.UseGround
		return h
	case c.line < 0:
		h.Use = board.UsePower
		return h
	case c.line < len(chip.lines):
		l := chip.lines[c.line]
		h.Line, h.By, h.Use, h.Output = l.name, l.consumer, board.UseFree, new(l.output)
		if l.used {
			h.Use = board.UseOther
		} else if bus := b.health.busOn(c.bus); bus != "" {
			h.Use, h.By, h.Output = board.UseOther, bus, nil
		}
	}
	p := b.pinAt(c, chip)
	if p == nil {
		return h
	}
	h.App, h.Pin, h.By, h.Use, h.Output = p.App, p.Name, "", board.UseInput, new(p.Output)
	if p.Output {
		h.Use = board.UseOutput
	}
	on, err := b.ReadPin(p.App, p.Name)
	if err != nil {
		h.Fault = err.Error()
		return h
	}
	h.High, h.On = new(on != p.Invert), new(on)
	return h
}

// pinAt returns the pin of the configuration that is on a contact; nil: none is. Of
// simulated pins that share a line it is the output.
func (b *Board) pinAt(c *contact, chip *chipLines) (at *PinConfig) {
	for _, p := range b.pins {
		if c.is(p.Line, chip) && (at == nil || p.Output) {
			at = &p.PinConfig
		}
	}
	return at
}

// is reports whether a contact is the line of a name in the configuration.
func (c *contact) is(name string, chip *chipLines) bool {
	if c.line >= len(chip.lines) { // the chip cannot be listed
		return name == c.name
	}
	if where, offset, numbered := strings.Cut(name, ":"); numbered && (where == chip.name || where == chip.label) {
		return offset == strconv.Itoa(c.line)
	}
	return name == chip.lines[c.line].name
}

// Buses that have lines of a header without telling the GPIO chip.
const (
	busI2C  = "i2c-1"
	busSPI  = "spi0"
	busUART = "serial0"
)

// busOn returns the bus when the kernel runs it, else "".
func (h *health) busOn(bus string) string {
	switch bus {
	case busI2C, busSPI:
		class := map[string]string{busI2C: "i2c-adapter", busSPI: "spi_master"}[bus]
		if found, _ := filepath.Glob(filepath.Join(h.root, "sys/class", class, bus)); len(found) > 0 { // the pattern is sound
			return bus
		}
	case busUART:
		node, ok := h.read(deviceTree + "/aliases/" + busUART)
		if !ok {
			return ""
		}
		if status, ok := h.read(deviceTree + node + "/status"); !ok || status == "okay" {
			return bus
		}
	}
	return ""
}
