package pgsync

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

// CheckURL returns nil for a connection string that can be understood, and for
// none.
func CheckURL(text string) error {
	if text == "" {
		return nil
	}
	if _, err := pgx.ParseConfig(text); err != nil {
		return errURL // what the parser says may quote the password
	}
	return nil
}

// secretWord finds passwords in a connection string of keywords and values.
var secretWord = regexp.MustCompile(`(?i)((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)`)

// RedactURL returns a connection string without its password.
func RedactURL(text string) string {
	if text == "" {
		return ""
	}
	scheme, _, isURL := strings.Cut(text, "://")
	if !isURL {
		return secretWord.ReplaceAllString(text, "${1}xxxxx")
	}
	u, err := url.Parse(text)
	if err != nil { // the password may be anywhere in it
		return scheme + "://xxxxx"
	}
	q := u.Query()
	for _, name := range []string{"password", "sslpassword"} {
		if q.Has(name) {
			q.Set(name, "xxxxx")
		}
	}
	u.RawQuery = q.Encode()
	return u.Redacted()
}

// Passwords returns the passwords in a connection string: as they are, and of the user of a URL also as it has
// them.
func Passwords(text string) []string {
	var list []string
	add := func(p string) {
		if p != "" {
			list = append(list, p)
		}
	}
	_, rest, isURL := strings.Cut(text, "://")
	if !isURL {
		for _, m := range secretWord.FindAllStringSubmatch(text, -1) {
			word := strings.TrimSuffix(strings.TrimPrefix(m[2], "'"), "'")
			add(strings.NewReplacer(`\\`, `\`, `\'`, `'`).Replace(word))
		}
		return list
	}
	u, err := url.Parse(text)
	if err != nil { // it is somewhere between the first colon and the last @
		_, rest, _ = strings.Cut(rest, ":")
		add(rest[:max(0, strings.LastIndexByte(rest, '@'))])
		return list
	}
	if p, ok := u.User.Password(); ok {
		add(p)
		_, written, _ := strings.Cut(u.User.String(), ":")
		add(written)
	}
	for _, name := range []string{"password", "sslpassword"} {
		add(u.Query().Get(name))
	}
	return list
}
