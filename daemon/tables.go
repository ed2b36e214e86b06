package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/picloud/picloud/check"
)

// namedTables hold a table for each pin or sensor.
var namedTables = []string{"hw." + pinInputs, "hw." + pinOutputs, strings.TrimSuffix(sensorTable, ".")}

// file applies one configuration file.
type file struct {
	c      *Config
	name   string
	told   map[string]bool // texts of the faults
	faults []error
}

// parseTOML applies one file. Unknown keys and tables are faults that name the line; each
// is told once.
func parseTOML(c *Config, name string, b []byte) []error {
	var whole map[string]any
	if err := toml.Unmarshal(b, &whole); err != nil { // finds what is not TOML, duplicates included
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ := at.Position()
			return []error{fmt.Errorf("%s:%d: %w", name, line, err)}
		}
		return []error{fmt.Errorf("%s: %w", name, err)}
	}
	f := file{c: c, name: name, told: map[string]bool{}}
	var p unstable.Parser
	p.Reset(b)
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table:
			table = keyOf(e)
			f.open(table, f.place(&p, e))
		case unstable.ArrayTable:
			table = keyOf(e)
			f.fault(f.place(&p, e), fmt.Errorf("a list of tables does not fit here: write [%s]", table))
		case unstable.KeyValue:
			f.apply(strings.TrimPrefix(table+"."+keyOf(e), "."), e.Value(), f.place(&p, e))
		default: // comments
		}
	}
	return f.faults
}

func keyOf(e *unstable.Node) string {
	var parts []string
	for it := e.Key(); it.Next(); {
		parts = append(parts, string(it.Node().Data))
	}
	return strings.Join(parts, ".")
}

// place is FILE:LINE of an expression.
func (f *file) place(p *unstable.Parser, e *unstable.Node) string {
	line := 0
	if it := e.Key(); it.Next() {
		line = p.Shape(it.Node().Raw).Start.Line
	}
	return fmt.Sprintf("%s:%d", f.name, line)
}

// fault keeps a fault with its place, unless it was told before.
func (f *file) fault(place string, err error) {
	if !f.told[err.Error()] {
		f.told[err.Error()] = true
		f.faults = append(f.faults, fmt.Errorf("%s: %w", place, err))
	}
}

// open takes note of a table, and of the pin or the sensor that it is about. It reports
// false when there can be no such table: its settings are left out.
func (f *file) open(table, place string) bool {
	if err := f.c.openTable(table); err != nil {
		f.fault(place, err)
		return false
	}
	f.c.noteTable(table, place)
	return true
}

// apply applies a value, or those of an inline table, which are at a place.
func (f *file) apply(key string, value *unstable.Node, place string) {
	table := parentOf(key)
	if value.Kind == unstable.InlineTable {
		if f.open(key, place) {
			for it := value.Children(); it.Next(); {
				f.apply(key+"."+keyOf(it.Node()), it.Node().Value(), place)
			}
		}
		return
	}
	if !f.open(table, place) {
		return
	}
	if err := unknownSetting(key); err != nil {
		f.fault(place, err)
		return
	}
	f.c.noteSetting(key, place)
	for _, err := range parts(apply(f.c, key, value)) {
		f.fault(place, fmt.Errorf("%s: %w", key, err))
	}
}

// unknownSetting returns nil for a key that apply knows where to put.
func unknownSetting(key string) error {
	_, _, _, pin := pinKey(key)
	_, _, sensor := sensorKey(key)
	if pin || sensor || slices.ContainsFunc(Settings, func(s Setting) bool { return s.Key == key }) {
		return nil
	}
	for _, named := range namedTables {
		if key == named || parentOf(key) == named {
			what := "pin"
			if named+"." == sensorTable {
				what = "sensor"
			}
			return fmt.Errorf("%s: the settings of a %s are in a table with its name: write [%s.NAME]", named, what, named)
		}
	}
	return fmt.Errorf("unknown setting %q%s", key, suggest(key, func(s *Setting) string { return s.Key }))
}

// openTable returns nil when there can be such a table. It makes the pin or the sensor
// that the table is about, so that one without settings is not overlooked.
func (c *Config) openTable(table string) error {
	if output, name, field, ok := pinKey(table + "."); ok && field == "" {
		_, err := c.openPin(output, name)
		return inTable(table, err)
	}
	if name, field, ok := sensorKey(table + "."); ok && (field == "" || field == minChangeTable+".") {
		_, err := c.openSensor(name)
		return inTable(table, err)
	}
	known := slices.Clone(namedTables)
	for i := range Settings {
		if Settings[i].Key == table {
			return fmt.Errorf("%s is a setting, not a table", table)
		}
		for above := parentOf(Settings[i].Key); above != ""; above = parentOf(above) {
			known = append(known, above)
		}
	}
	if table == "" || slices.Contains(known, table) {
		return nil
	}
	best := check.Nearest(table, known)
	if above, name := parentOf(table), table[strings.LastIndexByte(table, '.')+1:]; strings.Contains(above, ".") {
		if above = check.Nearest(above, namedTables); above != "" {
			best = above + "." + name
		}
	}
	if best != "" {
		return fmt.Errorf("unknown table [%s]; did you mean [%s]?", table, best)
	}
	return fmt.Errorf("unknown table [%s]", table)
}

func inTable(table string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", table, err)
	}
	return nil
}

// parentOf is the table that a key is in; empty: none.
func parentOf(key string) string { return key[:max(0, strings.LastIndexByte(key, '.'))] }
