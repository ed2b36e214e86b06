package daemon

import (
	"fmt"
	"slices"
	"strings"
)

// fault is what is wrong with a setting or a table when all sources have been read.
type fault struct {
	key string // of the setting or the table; it may be missing in the file
	err error
}

// locate says of each fault where it is: at the setting, or else at the table that it is
// in. What no source has given has its default, and no place.
func (c *Config) locate(list []fault) (faults []error) {
	for _, f := range list {
		err := fmt.Errorf("%s: %w", f.key, f.err)
		for at := f.key; at != ""; at = parentOf(at) {
			if place := c.places[at]; place != "" {
				err = fmt.Errorf("%s: %w", place, err)
				break
			}
		}
		faults = append(faults, err)
	}
	return faults
}

// sorted returns faults in the order of their keys.
func sorted(faults []fault) []fault {
	slices.SortFunc(faults, func(a, b fault) int { return strings.Compare(a.key, b.key) })
	return faults
}

// noteSetting keeps where a setting was given last: that one counts.
func (c *Config) noteSetting(key, place string) {
	c.noteTable(parentOf(key), place)
	c.places[key] = place
}

// noteTable keeps where a table was given first.
func (c *Config) noteTable(table, place string) {
	if c.places == nil {
		c.places = map[string]string{}
	}
	if _, known := c.places[table]; !known {
		c.places[table] = place
	}
}

// given reports whether a source has a setting, or a table.
func (c *Config) given(key string) bool { return c.places[key] != "" }

// parts takes faults apart that errors.Join has put together.
func parts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && strings.Contains(err.Error(), "\n") {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
