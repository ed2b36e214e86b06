package check

import (
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/picloud/picloud"
)

// File returns the first fault of the path and the content type of a file.
func File(path, kind string) error {
	if len(path) > picloud.MaxKey || !utf8.ValidString(path) || strings.ContainsFunc(path, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return picloud.ErrFileInvalid.Detailf("its path: use 1 to %d bytes of UTF-8 without control characters", picloud.MaxKey)
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." {
			return picloud.ErrFileInvalid.Detailf("its path: %q: put names between the slashes, other than . and ..", path)
		}
	}
	if _, _, err := mime.ParseMediaType(kind); (kind != "" && err != nil) || len(kind) > picloud.MaxKey || !plain(kind) {
		return picloud.ErrFileInvalid.Detailf("its content type: %q is none; use one such as image/jpeg", kind)
	}
	return nil
}
