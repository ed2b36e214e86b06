package check

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/picloud/picloud"
)

// text reports whether a description or a label can be kept, and copied to any
// database.
func text(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

// plain reports whether a text has nothing in it that readers of a header or a
// terminal act on.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// maxVersion leaves room for all versions that will ever follow.
const maxVersion = 1 << 62

// Version returns an error, of the kind that is given, for a version that nothing has:
// those of scripts count from 1, others are microseconds since 1970 or a little more.
func Version(kind *picloud.Error, version uint64) error {
	if version == 0 || version > maxVersion {
		return kind.Detailf("version: %d is none", version)
	}
	return nil
}
