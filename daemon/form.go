package daemon

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Form says how the value of a setting is written.
type Form struct {
	Kind   Kind
	Unit   string // of a number; empty: none
	Values string // the allowed ones, for people; empty: any
}

// Kind is the type of a value in the configuration file.
type Kind string

// The kinds.
const (
	KindText   Kind = "text"
	KindList   Kind = "list of texts"
	KindSwitch Kind = "true or false"
	KindNumber Kind = "whole number"

	KindDecimal Kind = "number"               // with or without a fraction
	KindChannel Kind = "text or whole number" // a text that may look like a number
)

// String returns the form for people, such as "seconds, 1 to 3600".
func (f Form) String() string {
	switch {
	case f.Unit != "":
		return f.Unit + ", " + f.Values
	case f.Kind == KindNumber, f.Kind == KindDecimal:
		return string(f.Kind) + ", " + f.Values
	case f.Values != "":
		return f.Values
	}
	return string(f.Kind)
}

// TOML returns a value as the file has it.
func (f Form) TOML(value string) string {
	switch f.Kind {
	case KindNumber, KindSwitch, KindDecimal:
		return value
	case KindList:
		var items []string
		for one := range strings.SplitSeq(value, ",") {
			if one != "" {
				items = append(items, strconv.Quote(one))
			}
		}
		return "[" + strings.Join(items, ", ") + "]"
	case KindText, KindChannel:
	}
	return strconv.Quote(value)
}

// textOf returns the value of a setting in a configuration file as the text that sets it, or
// an error that says which type of value the setting has.
func (f Form) textOf(v *unstable.Node) (string, error) {
	text := string(v.Data)
	fits := false
	switch f.Kind {
	case KindText:
		fits = v.Kind == unstable.String
	case KindSwitch:
		fits = v.Kind == unstable.Bool
	case KindNumber:
		fits, text = v.Kind == unstable.Integer, strings.ReplaceAll(text, "_", "")
	case KindDecimal:
		fits, text = v.Kind == unstable.Integer || v.Kind == unstable.Float, strings.ReplaceAll(text, "_", "")
	case KindChannel:
		fits = v.Kind == unstable.String || v.Kind == unstable.Integer
	case KindList:
		if v.Kind == unstable.Array {
			return listText(v)
		}
	}
	if !fits {
		if v.Kind == unstable.String {
			return "", fmt.Errorf("%s: use %s, without quotes", written(v), f.wanted())
		}
		return "", fmt.Errorf("%s: use %s", written(v), f.wanted())
	}
	return text, nil
}

// listText returns a list with commas between its entries, which have none.
func listText(v *unstable.Node) (string, error) {
	var entries []string
	var faults []error
	for it := v.Children(); it.Next(); {
		entry := it.Node()
		text := strings.TrimSpace(string(entry.Data))
		switch {
		case entry.Kind != unstable.String:
			faults = append(faults, fmt.Errorf("%s: use texts in quotes as entries of the list", written(entry)))
		case text == "":
			faults = append(faults, fmt.Errorf("%s: an entry of the list is empty", written(entry)))
		case strings.Contains(text, ","):
			faults = append(faults, fmt.Errorf("%s: use an entry of the list for each, without commas", written(entry)))
		}
		entries = append(entries, text)
	}
	return strings.Join(entries, ","), errors.Join(faults...)
}

// wanted says what to write as the value.
func (f Form) wanted() string {
	var text string
	switch f.Kind {
	case KindText:
		text = "a text in quotes"
	case KindList:
		return "a list of texts, such as [\"one\", \"two\"]"
	case KindSwitch:
		text = "true or false"
	case KindNumber:
		text = "a whole number"
		if f.Unit != "" {
			text += " of " + f.Unit
		}
	case KindDecimal:
		text = "a number"
	case KindChannel:
		text = "a text in quotes or a whole number"
	}
	if f.Values != "" {
		text += ", " + f.Values
	}
	return text
}

// longestWritten is how many characters of a value an error repeats.
const longestWritten = 60

// written is a value as it is in the file, or what it is where that is long.
func written(v *unstable.Node) string {
	text := string(v.Data)
	switch v.Kind {
	case unstable.Array:
		return "a list"
	case unstable.InlineTable:
		return "a table"
	case unstable.String:
		text = strconv.Quote(text)
	default:
	}
	if cut := []rune(text); len(cut) > longestWritten {
		text = string(cut[:longestWritten]) + "…"
	}
	return text
}
