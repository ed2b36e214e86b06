package daemon

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/picloud/picloud/pgsync"
	"github.com/picloud/picloud/sdk"
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
)

// String returns the form for people, such as "seconds, 1 to 3600".
func (f Form) String() string {
	switch {
	case f.Unit != "":
		return f.Unit + ", " + f.Values
	case f.Kind == KindNumber:
		return string(f.Kind) + ", " + f.Values
	case f.Values != "":
		return f.Values
	}
	return string(f.Kind)
}

// TOML returns a value as the file has it.
func (f Form) TOML(value string) string {
	switch f.Kind {
	case KindNumber, KindSwitch:
		return value
	case KindList:
		var items []string
		for one := range strings.SplitSeq(value, ",") {
			if one != "" {
				items = append(items, strconv.Quote(one))
			}
		}
		return "[" + strings.Join(items, ", ") + "]"
	case KindText:
	}
	return strconv.Quote(value)
}

// field reads and writes the value of a setting as text.
type field struct {
	Form

	set func(c *Config, text string) error
	get func(c *Config) string

	show func(value string) string // for people; nil: as it is
}

// in gives the form of a number its unit.
func in(unit string, f field) field {
	f.Unit = unit
	return f
}

func text(at func(*Config) *string) field {
	return field{
		Form: Form{Kind: KindText},
		set: func(c *Config, v string) error {
			*at(c) = v
			return noControls(v)
		},
		get: func(c *Config) string { return *at(c) },
	}
}

// noControls returns nil for a text without control characters, which no path and no name
// has.
func noControls(v string) error {
	if strings.ContainsFunc(v, unicode.IsControl) {
		return fmt.Errorf("%q: use no control characters", v)
	}
	return nil
}

// words is a list, in text separated by commas.
func words(at func(*Config) *[]string) field {
	return field{
		Form: Form{Kind: KindList},
		set: func(c *Config, v string) error {
			*at(c) = nil
			for one := range strings.SplitSeq(v, ",") {
				if one = strings.TrimSpace(one); one != "" {
					*at(c) = append(*at(c), one)
				}
			}
			return nil
		},
		get: func(c *Config) string { return strings.Join(*at(c), ",") },
	}
}

// httpHosts is a list of which each entry has to be understood.
var httpHosts = func() field {
	list := words(func(c *Config) *[]string { return &c.HTTPHosts })
	return field{Form: list.Form, get: list.get, set: func(c *Config, v string) error {
		if err := list.set(c, v); err != nil {
			return err
		}
		var faults []error
		for _, entry := range c.HTTPHosts {
			faults = append(faults, sdk.CheckHTTPHost(entry))
		}
		return errors.Join(faults...)
	}}
}()

func oneOf(at func(*Config) *string, values ...string) field {
	return field{
		Form: Form{Kind: KindText, Values: "one of " + strings.Join(values, ", ")},
		set: func(c *Config, v string) error {
			if !slices.Contains(values, v) {
				return fmt.Errorf("%q: use %s", v, strings.Join(values, " or "))
			}
			*at(c) = v
			return nil
		},
		get: func(c *Config) string { return *at(c) },
	}
}

func yesNo(at func(*Config) *bool) field {
	return field{
		Form: Form{Kind: KindSwitch},
		set: func(c *Config, v string) error {
			b, err := strconv.ParseBool(v)
			if err != nil {
				return fmt.Errorf("%q: use true or false", v)
			}
			*at(c) = b
			return nil
		},
		get: func(c *Config) string { return strconv.FormatBool(*at(c)) },
	}
}

// secretURL may hold a password, which is not shown.
func secretURL(at func(*Config) *string) field {
	return field{
		Form: Form{Kind: KindText},
		set: func(c *Config, v string) error {
			*at(c) = v
			return pgsync.CheckURL(v)
		},
		get:  func(c *Config) string { return *at(c) },
		show: pgsync.RedactURL,
	}
}

func number(at func(*Config) *int, lo, hi int) field {
	return field{
		Form: Form{Kind: KindNumber, Values: fmt.Sprintf("%d to %d", lo, hi)},
		set: func(c *Config, v string) error {
			n, err := strconv.Atoi(v)
			if err != nil || n < lo || n > hi {
				return fmt.Errorf("%q: use a whole number from %d to %d", v, lo, hi)
			}
			*at(c) = n
			return nil
		},
		get: func(c *Config) string { return strconv.Itoa(*at(c)) },
	}
}

// size is a number of bytes, at least lo.
func size(at func(*Config) *int64, lo int64) field { return sizeWithin(at, lo, math.MaxInt64) }

// sizeWithin is a number of bytes from lo to hi.
func sizeWithin(at func(*Config) *int64, lo, hi int64) field {
	values := fmt.Sprintf("at least %d", lo)
	if hi < math.MaxInt64 {
		values = fmt.Sprintf("%d to %d", lo, hi)
	}
	return field{
		Form: Form{KindNumber, "bytes", values},
		set: func(c *Config, v string) error {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil || n < lo || n > hi {
				return fmt.Errorf("%q: use a whole number of bytes, %s", v, values)
			}
			*at(c) = n
			return nil
		},
		get: func(c *Config) string { return strconv.FormatInt(*at(c), 10) },
	}
}

// count is a number of things, at least 1.
func count(at func(*Config) *int64) field {
	f := size(at, 1)
	return field{Form: Form{Kind: KindNumber, Values: "at least 1"}, get: f.get, set: func(c *Config, v string) error {
		if f.set(c, v) != nil {
			return fmt.Errorf("%q: use a whole number, at least 1", v)
		}
		return nil
	}}
}

func seconds(at func(*Config) *time.Duration, hi int) field {
	return field{
		Form: Form{KindNumber, "seconds", fmt.Sprintf("1 to %d", hi)},
		set: func(c *Config, v string) error {
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 || n > hi {
				return fmt.Errorf("%q: use a whole number of seconds from 1 to %d", v, hi)
			}
			*at(c) = time.Duration(n) * time.Second
			return nil
		},
		get: func(c *Config) string { return strconv.FormatInt(int64(*at(c)/time.Second), 10) },
	}
}

// interval is a duration with its unit.
func interval(at func(*Config) *time.Duration, lo, hi time.Duration) field {
	return field{
		Form: Form{Kind: KindText, Values: fmt.Sprintf("a time from %s to %s", shortTime(lo), shortTime(hi))},
		set: func(c *Config, v string) error {
			d, err := time.ParseDuration(v)
			if err != nil || d < lo || d > hi {
				return fmt.Errorf("%q: use a time from %v to %v, such as 10s", v, lo, hi)
			}
			*at(c) = d
			return nil
		},
		get: func(c *Config) string { return at(c).String() },
	}
}

// shortTime writes a duration without the smaller units that are 0: 1h, not 1h0m0s.
func shortTime(d time.Duration) string {
	text := d.String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

func millis(at func(*Config) *time.Duration, hi int) field {
	return field{
		Form: Form{KindNumber, "milliseconds", fmt.Sprintf("10 to %d", hi)},
		set: func(c *Config, v string) error {
			n, err := strconv.Atoi(v)
			if err != nil || n < 10 || n > hi {
				return fmt.Errorf("%q: use a whole number of milliseconds from 10 to %d", v, hi)
			}
			*at(c) = time.Duration(n) * time.Millisecond
			return nil
		},
		get: func(c *Config) string { return strconv.FormatInt(at(c).Milliseconds(), 10) },
	}
}

var logLevel = field{
	Form: Form{Kind: KindText, Values: "one of debug, info, warn, error"},
	set: func(c *Config, v string) error {
		if err := c.LogLevel.UnmarshalText([]byte(v)); err != nil {
			return fmt.Errorf("%q: use debug, info, warn or error", v)
		}
		return nil
	},
	get: func(c *Config) string { return strings.ToLower(c.LogLevel.String()) },
}

var logFormat = field{
	Form: Form{Kind: KindText, Values: "one of text, json"},
	set: func(c *Config, v string) error {
		if v != "text" && v != "json" {
			return fmt.Errorf("%q: use text or json", v)
		}
		c.LogFormat = v
		return nil
	},
	get: func(c *Config) string { return c.LogFormat },
}
