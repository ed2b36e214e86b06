package hw

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

// variables are what a template of each kind of input may have, as strings.
var variables = map[string][]string{
	KindEdges:   {"$on", "$edge", "$at", "$count"},
	KindButton:  {"$gesture", "$at", "$count"},
	KindCounter: {"$total", "$count", "$rate", "$at"},
}

// templates are those of inputs that have none of their own.
var templates = map[string]string{
	KindEdges:   `{"on":"$on"}`,
	KindButton:  `{"gesture":"$gesture"}`,
	KindCounter: `{"total":"$total","count":"$count","rate":"$rate"}`,
}

// added are the fields that an event has beside those of the template, where there is
// something to say: a template has none of them, but at and count.
var added = []string{"at", "count", "missed", "initial", "simulated"}

// maxTemplate bounds a template in bytes.
const maxTemplate = 4096

// template makes the data of events.
type template struct {
	pieces []piece
	at     bool // it has a field at of its own
	count  bool
	empty  bool   // it has no field
	total  string // the field with the total of a counter; empty: none
}

// piece is text, and the variable that follows it; empty: none does.
type piece struct {
	text     string
	variable string
}

// CheckTemplate returns what is wrong with the template of an input.
func CheckTemplate(kind, text string) error {
	_, err := parseTemplate(kind, text)
	return err
}

// parseTemplate reads a template: a JSON object in which values may be variables. Empty
// text is the template of the kind.
func parseTemplate(kind, text string) (*template, error) {
	if text == "" {
		text = templates[kind]
	}
	if len(text) > maxTemplate {
		return nil, fmt.Errorf("the template has %d bytes: use at most %d", len(text), maxTemplate)
	}
	var compact bytes.Buffer
	if err := check.CompactJSON(&compact, []byte(text)); err != nil {
		return nil, fmt.Errorf("the template is not JSON: %s; variables are strings, as in '{\"open\": \"$on\"}'", picloud.AsError(err).Detail)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(compact.Bytes(), &fields); err != nil || fields == nil {
		return nil, fmt.Errorf("the template is no JSON object: use one, as in '{\"open\": \"$on\"}'")
	}
	t := &template{empty: len(fields) == 0}
	for name, value := range fields {
		switch {
		case name == "at":
			t.at = true
		case name == "count":
			t.count = true
		case slices.Contains(added, name):
			return nil, fmt.Errorf("the template has a field %q, which the node adds where it is due: use another name", name)
		case string(value) == `"$total"`:
			t.total = name
		}
	}
	return t, t.split(kind, strings.TrimSuffix(compact.String(), "}"))
}

// split cuts the compact text of a template where its variables are.
func (t *template) split(kind, text string) error {
	from := 0
	for i := 0; i < len(text); i++ {
		if text[i] != '"' {
			continue
		}
		end := i + 1
		for text[end] != '"' {
			if text[end] == '\\' {
				end++
			}
			end++
		}
		word, isKey := text[i+1:end], end+1 < len(text) && text[end+1] == ':'
		if strings.HasPrefix(word, "$") && !isKey {
			if !slices.Contains(variables[kind], word) {
				return fmt.Errorf("the template has %q, which is no variable of an input of kind %q: there are %s", word, kind, strings.Join(variables[kind], ", "))
			}
			t.pieces = append(t.pieces, piece{text[from:i], word})
			from = end + 1
		}
		i = end
	}
	t.pieces = append(t.pieces, piece{text: text[from:]})
	return nil
}

// append appends the data of an event.
func (t *template) append(b []byte, o *occurrence, simulated bool) []byte {
	at := wall(o.at)
	for _, p := range t.pieces {
		b = append(b, p.text...)
		switch p.variable {
		case "$on":
			b = strconv.AppendBool(b, o.on)
		case "$edge":
			b = appendEdge(b, o)
		case "$at":
			b = appendTime(b, at.AppendFormat, picloud.TimeLayout)
		case "$count":
			b = strconv.AppendInt(b, int64(o.count), 10)
		case "$gesture":
			b = strconv.AppendQuote(b, o.gesture)
		case "$total":
			b = strconv.AppendUint(b, o.total, 10)
		case "$rate":
			b = strconv.AppendFloat(b, o.rate(), 'f', -1, 64)
		}
	}
	comma := !t.empty
	field := func(name string) {
		if comma {
			b = append(b, ',')
		}
		comma = true
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, '"', ':')
	}
	if !t.at {
		field("at")
		b = appendTime(b, at.AppendFormat, picloud.TimeLayout)
	}
	if !t.count && o.count > 1 {
		field("count")
		b = strconv.AppendInt(b, int64(o.count), 10)
	}
	if o.missed > 0 {
		field("missed")
		b = strconv.AppendInt(b, int64(o.missed), 10)
	}
	if o.initial {
		field("initial")
		b = append(b, "true"...)
	}
	if simulated {
		field("simulated")
		b = append(b, "true"...)
	}
	return append(b, '}')
}

func appendTime(b []byte, format func([]byte, string) []byte, layout string) []byte {
	b = append(b, '"')
	b = format(b, layout)
	return append(b, '"')
}

func appendEdge(b []byte, o *occurrence) []byte {
	switch {
	case o.initial:
		return append(b, "null"...)
	case o.on:
		return append(b, `"rising"`...)
	}
	return append(b, `"falling"`...)
}

// rate is how many pulses there were in a second.
func (o *occurrence) rate() float64 {
	if o.elapsed <= 0 {
		return 0
	}
	return math.Round(float64(o.count)/o.elapsed.Seconds()*1e6) / 1e6
}

// totalOf returns the total that the data of an event of a counter tells.
func (t *template) totalOf(data []byte) uint64 {
	var fields map[string]json.RawMessage
	if t.total == "" || json.Unmarshal(data, &fields) != nil {
		return 0
	}
	n, _ := strconv.ParseUint(string(fields[t.total]), 10, 64) // 0 where it is none
	return n
}
