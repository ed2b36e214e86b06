package check

import (
	"strings"
	"unicode/utf8"

	"github.com/picloud/picloud"
)

// Script returns the first fault of the name and the source of a script. The source is
// not parsed.
func Script(name, source string) error {
	if err := Handle("script", name); err != nil {
		return err
	}
	switch {
	case strings.TrimSpace(source) == "":
		return picloud.ErrScriptInvalid.Detailf("it is empty: send an ES module, such as export default async function (input, ctx) { }")
	case len(source) > picloud.MaxScript:
		return picloud.ErrScriptInvalid.Detailf("it has %d bytes, the limit is %d: split it into several scripts that import one another", len(source), picloud.MaxScript)
	case strings.Contains(source, "\x00"):
		return picloud.ErrScriptInvalid.Detailf("byte %d is NUL: send text", strings.IndexByte(source, 0)+1)
	case !utf8.ValidString(source):
		return picloud.ErrScriptInvalid.Detailf("byte %d is not UTF-8: send UTF-8", firstInvalid([]byte(source)))
	}
	return nil
}
