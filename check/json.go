package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"github.com/picloud/picloud"
)

// maxDepth is how deeply arrays and objects may be nested in a JSON value that is
// kept. Deeper ones serve to exhaust the stack of readers.
const maxDepth = 128

// CompactJSON appends the compact form of the one JSON value in data to dst.
// It has no line breaks, which the framing of streams relies on. The error is
// public.
func CompactJSON(dst *bytes.Buffer, data []byte) error {
	invalid := picloud.ErrDataInvalid
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return invalid.Detailf("there is no data: send one JSON value, such as {\"value\": 1} or null")
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return invalid.Detailf("it begins with a byte order mark: send UTF-8 without one")
	case !utf8.Valid(data):
		return invalid.Detailf("byte %d is not UTF-8: send UTF-8", firstInvalid(data))
	}
	if json.Compact(dst, data) != nil {
		return syntaxFault(data)
	}
	if depth(dst.Bytes()) > maxDepth {
		return invalid.Detailf("arrays and objects are nested more than %d deep: send a flatter value", maxDepth)
	}
	return nil
}

// syntaxFault says where data stops being JSON. Compact does not tell; reading
// data a second time does, and only those who send faulty data wait for it.
func syntaxFault(data []byte) error {
	if at, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(data, new(json.RawMessage))); ok {
		return picloud.ErrDataInvalid.Detailf("byte %d: %s: send exactly one JSON value (RFC 8259)", at.Offset, at.Error())
	}
	return picloud.ErrDataInvalid.Detailf("send exactly one JSON value (RFC 8259)")
}

// firstInvalid returns the number, from 1, of the first byte that is not UTF-8.
func firstInvalid(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i + 1
		}
		i += n
	}
	return len(b)
}

// depth returns how deeply valid JSON is nested.
func depth(b []byte) int {
	level, deepest := 0, 0
	inString := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++ // what is escaped ends no string
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}
