package pgsync

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
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

// shown are the words of a connection string whose values may be shown: where the server is, whom it knows,
// how TLS and time limits are. All others may hold a secret, such as options, or are not known.
var shown = []string{
	"host", "hostaddr", "port", "user", "dbname", "database", "sslmode", "sslnegotiation", "sslrootcert", "sslcert", "sslkey", "sslsni", "sslcertmode",
	"ssl_min_protocol_version", "ssl_max_protocol_version", "min_protocol_version", "max_protocol_version", "channel_binding", "require_auth", "gssencmode", "krbsrvname",
	"connect_timeout", "target_session_attrs", "load_balance_hosts", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
	"application_name", "client_encoding",
	"default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity", "search_path", "timezone", "statement_timeout", "lock_timeout",
}

// hidden stands for a value that is not shown.
const hidden = "xxxxx"

// word finds the words of a connection string of keywords and values, and what one of them is.
var word = regexp.MustCompile(`(\w+)(\s*=\s*)('(?:[^'\\]|\\.)*(?:'|$)|(?:[^\s\\]|\\.)+)`)

// scheme finds the beginning of a connection string that is a URL.
var scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// RedactURL returns a connection string without its passwords and what else may hold a secret.
func RedactURL(text string) string {
	if text == "" {
		return ""
	}
	scheme := scheme.FindString(text)
	if scheme == "" {
		return word.ReplaceAllStringFunc(text, func(w string) string {
			m := word.FindStringSubmatch(w)
			if slices.Contains(shown, m[1]) {
				return w
			}
			return m[1] + m[2] + hidden
		})
	}
	u, err := url.Parse(text)
	if err != nil { // the password may be anywhere in it
		return scheme + hidden
	}
	q := u.Query()
	for name := range q {
		if !slices.Contains(shown, name) {
			q[name] = []string{hidden}
		}
	}
	u.RawQuery, u.Fragment, u.RawFragment = q.Encode(), "", ""
	return u.Redacted()
}

// secretName finds names of what is secret, in the words of a connection string and in its options.
var secretName = regexp.MustCompile(`(?i)pass|pwd|secret|token|key|credential`)

// optionOf finds what the options of a session set.
var optionOf = regexp.MustCompile(`([\w.]+)\s*=\s*((?:[^\s\\]|\\.)+)`)

// Passwords returns the secrets in a connection string: as they are, and of the user of a URL also as it has
// them. Its options are one as a whole, and each setting in them whose name says so.
func Passwords(text string) []string {
	var list []string
	add := func(p string) {
		if p != "" {
			list = append(list, p)
		}
	}
	addWord := func(name, value string) {
		switch {
		case name == "options":
			add(value)
			for _, m := range optionOf.FindAllStringSubmatch(value, -1) {
				if secretName.MatchString(m[1]) {
					add(m[2])
				}
			}
		case !slices.Contains(shown, name) && secretName.MatchString(name):
			add(value)
		}
	}
	rest := strings.TrimPrefix(text, scheme.FindString(text))
	if rest == text {
		for _, m := range word.FindAllStringSubmatch(text, -1) {
			value := strings.TrimSuffix(strings.TrimPrefix(m[3], "'"), "'")
			addWord(m[1], strings.NewReplacer(`\\`, `\`, `\'`, `'`, `\ `, ` `).Replace(value))
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
	q := u.Query()
	for _, name := range slices.Sorted(maps.Keys(q)) {
		for _, value := range q[name] {
			addWord(name, value)
		}
	}
	return list
}
