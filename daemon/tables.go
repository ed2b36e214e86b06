package daemon

import (
	"bytes"
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
	told   map[string]bool   // texts of the faults
	keys   map[string]string // of the settings that could be read, by their places
	faults []error
}

// parseTOML applies one file. Unknown keys and tables are faults that name the line; each
// is told once.
func parseTOML(c *Config, name string, b []byte) []error {
	f := file{c: c, name: name, told: map[string]bool{}, keys: map[string]string{}}
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
			key, place := strings.TrimPrefix(table+"."+keyOf(e), "."), f.place(&p, e)
			f.keys[place] = key
			f.apply(key, e.Value(), place)
		default: // comments
		}
	}
	var whole map[string]any
	if err := toml.Unmarshal(b, &whole); err != nil { // finds what is not TOML, duplicates included
		f.malformed(b, table, err)
	}
	return f.faults
}

// malformed keeps what makes the file no TOML, with the setting that its line is about. table
// is the last one that could be read. A fault of the same line stands for it.
func (f *file) malformed(b []byte, table string, err error) {
	at, ok := errors.AsType[*toml.DecodeError](err)
	if !ok {
		f.faults = append(f.faults, fmt.Errorf("%s: %w", f.name, err))
		return
	}
	line, _ := at.Position()
	place := fmt.Sprintf("%s:%d", f.name, line)
	if slices.ContainsFunc(f.faults, func(known error) bool { return strings.HasPrefix(known.Error(), place+": ") }) {
		return
	}
	key, use := f.keys[place], ""
	if key == "" { // its value could not be read
		before, _, _ := bytes.Cut(bytes.Split(b, []byte("\n"))[line-1], []byte("="))
		var p unstable.Parser
		p.Reset(append(slices.Clip(before), "=0"...))
		if p.NextExpression() && p.Expression().Kind == unstable.KeyValue {
			key = strings.TrimPrefix(table+"."+keyOf(p.Expression()), ".")
			use = expected(key)
		}
	}
	if key != "" {
		err = fmt.Errorf("%s: %w%s", key, err, use)
	}
	f.fault(place, err)
}

// expected says what a setting takes; empty: that is not known.
func expected(key string) string {
	var form Form
	if output, _, field, ok := pinKey(key); ok {
		if i := slices.IndexFunc(PinSettings, func(s PinSetting) bool { return s.Key == field && s.fits(output) }); i >= 0 {
			form = PinSettings[i].Form
		}
	} else if _, field, ok := sensorKey(key); ok {
		if i := slices.IndexFunc(SensorSettings, func(s SensorSetting) bool { return s.Key == field }); i >= 0 {
			form = SensorSettings[i].Form
		}
	} else if i := slices.IndexFunc(Settings, func(s Setting) bool { return s.Key == key }); i >= 0 {
		form = Settings[i].Form
	}
	if form.Kind == "" {
		return ""
	}
	return "; use " + form.wanted()
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
	if slices.Contains(tables(), key) {
		return fmt.Errorf("%s is a table of settings: write [%s] and its settings below it", key, key)
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
	if use := expected(table); use != "" {
		return fmt.Errorf("%s is a setting, not a table%s", table, use)
	}
	known := tables()
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

// tables lists the tables that settings are in, and those that hold the tables of pins and sensors.
func tables() []string {
	list := slices.Clone(namedTables)
	for i := range Settings {
		for above := parentOf(Settings[i].Key); above != ""; above = parentOf(above) {
			list = append(list, above)
		}
	}
	return list
}

func inTable(table string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", table, err)
	}
	return nil
}

// parentOf is the table that a key is in; empty: none.
func parentOf(key string) string { return key[:max(0, strings.LastIndexByte(key, '.'))] }
