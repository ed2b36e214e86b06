package main

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/picloud/picloud/auth"
)

// redactor takes secrets out of texts: those that it knows, and whatever reads like one.
type redactor struct{ known *strings.Replacer }

// shortestSecret is the length of a known secret in bytes from which on it is taken out: shorter
// ones are parts of ordinary words.
const shortestSecret = 4

// newRedactor returns a redactor of known secrets, also as they are written in URLs.
func newRedactor(secrets ...string) redactor {
	var pairs []string
	for _, s := range secrets {
		if s = strings.TrimSpace(s); len(s) < shortestSecret {
			continue
		}
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s)} {
			pairs = append(pairs, form, redacted)
		}
	}
	return redactor{strings.NewReplacer(pairs...)}
}

// redacted stands for a secret.
const redacted = "REDACTED"

// secretLike finds what reads like a secret, and what to leave of it: private keys, recovery keys,
// subscriber tokens, headers with credentials, passwords in URLs and after their names.
var secretLike = []struct {
	text *regexp.Regexp
	left string
}{
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)`), redacted},
	{regexp.MustCompile(`(?i)pcr(?:-?[a-z2-7]{4}){3,}[a-z2-7]*`), redacted},
	{regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*`), redacted},
	{regexp.MustCompile(`(?i)(authorization["']?\s*[:=]\s*["']?(?:bearer|basic|digest)\s+)[!#-&(-+\--~]+`), "${1}" + redacted},
	{regexp.MustCompile(`(://[^/\s:@]*:)[^/\s@]+@`), "${1}" + redacted + "@"},
	{regexp.MustCompile(`(?i)(` + secretNames + `["']?\s*[=:]\s*")(?:[^"\\]|\\.)*"`), "${1}" + redacted + `"`},
	{regexp.MustCompile(`(?i)(` + secretNames + `["']?\s*[=:]\s*')(?:[^'\\]|\\.)*'`), "${1}" + redacted + `'`},
	{regexp.MustCompile(`(?i)(` + secretNames + `["']?(?:\s*=\s*|:))[^\s"'&,]+`), "${1}" + redacted},
}

// secretNames are what values are called that are secret.
const secretNames = `(?:password|passwd|secret|token|passfile|authorization)`

// perhaps finds words after those that credentials follow, and also ordinary words: "basic authentication",
// "wrong password: check it".
var perhaps = regexp.MustCompile(`(?i)((?:\b(?:bearer|basic)|` + secretNames + `["']?:)\s+)([^\s"',]+)`)

// redact returns the text without secrets.
func (r redactor) redact(text string) string {
	text = auth.RedactAPIKeys(r.known.Replace(text))
	for _, s := range secretLike {
		text = s.text.ReplaceAllString(text, s.left)
	}
	return perhaps.ReplaceAllStringFunc(text, func(found string) string {
		m := perhaps.FindStringSubmatch(found)
		if isWord(m[2]) {
			return found
		}
		return m[1] + redacted
	})
}

// isWord reports whether a text is a word of a sentence, and no credential: letters with a capital
// at most at the beginning, parted by hyphens, with punctuation around it.
func isWord(text string) bool {
	text = strings.TrimFunc(text, func(r rune) bool { return unicode.IsPunct(r) || unicode.IsSymbol(r) })
	for i, r := range text {
		if !unicode.IsLetter(r) && r != '-' || i > 0 && unicode.IsUpper(r) {
			return false
		}
	}
	return true
}
