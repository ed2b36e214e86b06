package auth

import (
	"encoding/base64"
	"regexp"
	"strings"
)

// keyLike finds API keys in text of any kind, whole or not, in URLs and in whatever
// case.
var keyLike = regexp.MustCompile(`(?i)pck(?:_|%5f)[a-z0-9_%]*`)

// redacted stands for an API key.
const redacted = "REDACTED"

// RedactAPIKeys returns text with REDACTED for each part of it that reads like an API
// key.
func RedactAPIKeys(text string) string { return keyLike.ReplaceAllLiteralString(text, redacted) }

// HoldsAPIKey reports whether the value of a header for credentials holds something
// that reads like an API key, in the open or in the base64 of the scheme Basic.
func HoldsAPIKey(credentials string) bool {
	if keyLike.MatchString(credentials) {
		return true
	}
	for word := range strings.FieldsFuncSeq(credentials, func(c rune) bool { return strings.ContainsRune(" \t,;\"", c) }) {
		word = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(word, "="))
		if b, err := base64.RawStdEncoding.DecodeString(word); err == nil && keyLike.Match(b) {
			return true
		}
	}
	return false
}
