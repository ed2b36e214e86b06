package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/picloud/picloud/pgsync"
	"github.com/picloud/picloud/sdk"
)

// field reads and writes the value of a setting as text. C is what holds the value: the
// configuration, a pin or a sensor.
type field[C any] struct {
	Form

	set func(c *C, text string) error
	get func(c *C) string

	show func(value string) string // for people; nil: as it is
}

// apply sets the value that a configuration file has.
func (f *field[C]) apply(c *C, value *unstable.Node) error {
	text, err := f.textOf(value)
	if err != nil {
		return err
	}
	return f.set(c, text)
}

// in gives the form of a number its unit.
func in[C any](unit string, f field[C]) field[C] {
	f.Unit = unit
	return f
}

// text is a text without control characters.
func text[C any](at func(*C) *string) field[C] { return checked(at, noControls) }

// checked is a text that a check takes; nil: any.
func checked[C any](at func(*C) *string, valid func(string) error) field[C] {
	return field[C]{
		Form: Form{Kind: KindText},
		set: func(c *C, v string) error {
			*at(c) = v
			if valid == nil {
				return nil
			}
			return valid(v)
		},
		get: func(c *C) string { return *at(c) },
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
func words(at func(*Config) *[]string) field[Config] {
	return field[Config]{
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
var httpHosts = func() field[Config] {
	list := words(func(c *Config) *[]string { return &c.HTTPHosts })
	return field[Config]{Form: list.Form, get: list.get, set: func(c *Config, v string) error {
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

// oneOf is a text that is one of a few.
func oneOf[C any, T ~string](at func(*C) *T, values ...T) field[C] {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	return field[C]{
		Form: Form{Kind: KindText, Values: "one of " + strings.Join(names, ", ")},
		set: func(c *C, v string) error {
			if !slices.Contains(names, v) {
				return fmt.Errorf("%q: use %s", v, strings.Join(names, " or "))
			}
			*at(c) = T(v)
			return nil
		},
		get: func(c *C) string { return string(*at(c)) },
	}
}

func yesNo[C any](at func(*C) *bool) field[C] {
	return field[C]{
		Form: Form{Kind: KindSwitch},
		set: func(c *C, v string) error {
			b, err := strconv.ParseBool(v)
			if err != nil {
				return fmt.Errorf("%q: use true or false", v)
			}
			*at(c) = b
			return nil
		},
		get: func(c *C) string { return strconv.FormatBool(*at(c)) },
	}
}

// secretURL may hold a password, which is not shown.
func secretURL(at func(*Config) *string) field[Config] {
	return field[Config]{
		Form: Form{Kind: KindText},
		set: func(c *Config, v string) error {
			*at(c) = v
			return pgsync.CheckURL(v)
		},
		get:  func(c *Config) string { return *at(c) },
		show: pgsync.RedactURL,
	}
}

// whole reads a whole number: decimal, or hexadecimal, octal or binary with the prefix that
// TOML has for it.
func whole(v string) (int64, error) {
	base := 10
	if strings.HasPrefix(v, "0x") || strings.HasPrefix(v, "0o") || strings.HasPrefix(v, "0b") {
		base = 0
	}
	return strconv.ParseInt(v, base, 64)
}

func number(at func(*Config) *int, lo, hi int) field[Config] {
	return field[Config]{
		Form: Form{Kind: KindNumber, Values: fmt.Sprintf("%d to %d", lo, hi)},
		set: func(c *Config, v string) error {
			n, err := whole(v)
			if err != nil || n < int64(lo) || n > int64(hi) {
				return fmt.Errorf("%q: use a whole number from %d to %d", v, lo, hi)
			}
			*at(c) = int(n)
			return nil
		},
		get: func(c *Config) string { return strconv.Itoa(*at(c)) },
	}
}

// most bounds numbers of bytes, so that a few of them can be added and multiplied: 1 PiB.
const most = 1 << 50

// size is a number of bytes, at least lo.
func size(at func(*Config) *int64, lo int64) field[Config] { return sizeWithin(at, lo, most) }

// sizeWithin is a number of bytes from lo to hi.
func sizeWithin(at func(*Config) *int64, lo, hi int64) field[Config] {
	values := fmt.Sprintf("%d to %d", lo, hi)
	if hi == most {
		values = fmt.Sprintf("at least %d", lo)
	}
	return field[Config]{
		Form: Form{KindNumber, "bytes", values},
		set: func(c *Config, v string) error {
			n, err := whole(v)
			if err != nil || n < lo || n > hi {
				return fmt.Errorf("%q: use a whole number of bytes, %d to %d", v, lo, hi)
			}
			*at(c) = n
			return nil
		},
		get: func(c *Config) string { return strconv.FormatInt(*at(c), 10) },
	}
}

// count is a number of things, at least 1.
func count(at func(*Config) *int64) field[Config] {
	f := size(at, 1)
	return field[Config]{Form: Form{Kind: KindNumber, Values: "at least 1"}, get: f.get, set: func(c *Config, v string) error {
		if f.set(c, v) != nil {
			return fmt.Errorf("%q: use a whole number, at least 1", v)
		}
		return nil
	}}
}

func seconds(at func(*Config) *time.Duration, hi int) field[Config] {
	return field[Config]{
		Form: Form{KindNumber, "seconds", fmt.Sprintf("1 to %d", hi)},
		set: func(c *Config, v string) error {
			n, err := whole(v)
			if err != nil || n < 1 || n > int64(hi) {
				return fmt.Errorf("%q: use a whole number of seconds from 1 to %d", v, hi)
			}
			*at(c) = time.Duration(n) * time.Second
			return nil
		},
		get: func(c *Config) string { return strconv.FormatInt(int64(*at(c)/time.Second), 10) },
	}
}

// interval is a duration with its unit.
func interval[C any](at func(*C) *time.Duration, lo, hi time.Duration) field[C] {
	return field[C]{
		Form: Form{Kind: KindText, Values: fmt.Sprintf("a time from %s to %s", shortTime(lo), shortTime(hi))},
		set: func(c *C, v string) error {
			d, err := time.ParseDuration(v)
			if err != nil || d < lo || d > hi {
				return fmt.Errorf("%q: use a time from %s to %s with its unit, such as 20ms, 10s or 1m30s", v, shortTime(lo), shortTime(hi))
			}
			*at(c) = d
			return nil
		},
		get: func(c *C) string { return at(c).String() },
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

func millis(at func(*Config) *time.Duration, hi int) field[Config] {
	return field[Config]{
		Form: Form{KindNumber, "milliseconds", fmt.Sprintf("10 to %d", hi)},
		set: func(c *Config, v string) error {
			n, err := whole(v)
			if err != nil || n < 10 || n > int64(hi) {
				return fmt.Errorf("%q: use a whole number of milliseconds from 10 to %d", v, hi)
			}
			*at(c) = time.Duration(n) * time.Millisecond
			return nil
		},
		get: func(c *Config) string { return strconv.FormatInt(at(c).Milliseconds(), 10) },
	}
}

var logLevel = field[Config]{
	Form: Form{Kind: KindText, Values: "one of debug, info, warn, error"},
	set: func(c *Config, v string) error {
		if !slices.Contains([]string{"debug", "info", "warn", "error"}, strings.ToLower(v)) || c.LogLevel.UnmarshalText([]byte(v)) != nil {
			return fmt.Errorf("%q: use debug, info, warn or error", v)
		}
		return nil
	},
	get: func(c *Config) string { return strings.ToLower(c.LogLevel.String()) },
}

var logFormat = field[Config]{
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
