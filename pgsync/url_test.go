package pgsync_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/pgsync"
)

// AU-6: whatever the form of the connection string, its password is shown to
// nobody: not by 'config show', and not in an error.
func TestPasswordsAreNotShown(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://pi:geheim@db:5432/picloud?sslmode=verify-full",
		"postgres://db/picloud?user=pi&password=geheim",
		"postgres://db/picloud?sslpassword=geheim",
		"host=db user=pi password=geheim dbname=picloud",
		"host=db user=pi password = 'geheim' dbname=picloud",
		`host=db PASSWORD='a \' geheim' dbname=picloud`,
		"postgres://pi:geheim@db:notaport/picloud",
		"postgres://pi:ge%heim@db/x",
		"postgres://pi:geheim@[::1/x",
	} {
		if got := pgsync.RedactURL(url); strings.Contains(got, "geheim") || strings.Contains(got, "heim@") {
			t.Errorf("%s is shown as %s", url, got)
		}
		if err := pgsync.CheckURL(url); err != nil && strings.Contains(err.Error(), "heim") {
			t.Errorf("the error quotes it: %v", err)
		}
	}
	if got := pgsync.RedactURL("postgres://pi@db/picloud?sslmode=verify-full"); got != "postgres://pi@db/picloud?sslmode=verify-full" {
		t.Errorf("without a password it is shown as %s", got)
	}
	if err := pgsync.CheckURL("postgres://pi:x@db:notaport/picloud"); err == nil {
		t.Error("a port that is none is taken")
	}
}

// Every way to write a password is known, so that it can be kept out of what is sent.
func TestPasswords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                                  nil,
		"postgres://u@h/d":                  nil,
		"postgres://u:geheim@h/d":           {"geheim", "geheim"},
		"postgres://u:a%2Fb@h/d":            {"a/b", "a%2Fb"},
		"postgres://u@h/d?password=p&x=y":   {"p"},
		"postgres://h/d?sslpassword=q":      {"q"},
		"host=h password=geheim user=u":     {"geheim"},
		"host=h password='with space' x=y":  {"with space"},
		"postgres://u:a%zz@h/d":             {"a%zz"},
		`host=h password='it\'s \\ o'`:      {`it's \ o`},
		"postgres://u@[::1/d":               nil,
		"host=h sslpassword = q password=p": {"q", "p"},
	} {
		if got := pgsync.Passwords(text); !slices.Equal(got, want) {
			t.Errorf("%q has the passwords %q, want %q", text, got, want)
		}
	}
}
