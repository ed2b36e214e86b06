package check

import (
	"fmt"
	"strings"
)

// MaxPointer bounds a JSON pointer in bytes.
const MaxPointer = 256

// Pointer returns the reference tokens of a JSON pointer (RFC 6901), unescaped; none
// for the empty pointer, which stands for the whole value.
func Pointer(pointer string) ([]string, error) {
	const rule = "use one such as /on, /lamp/on or /lamps/0, or the empty text for the whole value"
	switch {
	case pointer == "":
		return nil, nil
	case pointer[0] != '/':
		return nil, fmt.Errorf("%q is no JSON pointer, it does not begin with '/': %s", pointer, rule)
	case !text(pointer, MaxPointer):
		return nil, fmt.Errorf("a JSON pointer has at most %d bytes of UTF-8 without NUL", MaxPointer)
	}
	tokens := strings.Split(pointer[1:], "/")
	for i, token := range tokens {
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(token), "~") {
			return nil, fmt.Errorf("%q is no JSON pointer: '~' is written ~0, and '/' in a name ~1", pointer)
		}
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
	}
	return tokens, nil
}
