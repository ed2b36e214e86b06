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
		`host=h password=with\ space x=y`:   {"with space"},
		"host=h password='no end":           {"no end"},
		"host=h passfile=/root/.pgpass":     {"/root/.pgpass"},

		"postgres://h/d?password=p&password=q":                           {"p", "q"},
		"postgres://h/d?options=-c%20app.password%3Dgeheim%20-c%20a%3Db": {"-c app.password=geheim -c a=b", "geheim"},
		`host=h options='-c app.token=geheim -c work_mem=4MB'`:           {"-c app.token=geheim -c work_mem=4MB", "geheim"},
		"postgres://h/d?sslkey=/etc/key.pem&search_path=public":          nil,
	} {
		if got := pgsync.Passwords(text); !slices.Equal(got, want) {
			t.Errorf("%q has the passwords %q, want %q", text, got, want)
		}
	}
}

// What is shown of a connection string is where it leads to; whatever else it has may be a secret.
func TestRedactURLShowsWhatIsKnown(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"postgres://pi:geheim@db:5/p?sslmode=require&sslpassword=geheim": "postgres://pi:xxxxx@db:5/p?sslmode=require&sslpassword=xxxxx",
		"postgres://pi@db/p?options=-c%20x.password%3Dgeheim":            "postgres://pi@db/p?options=xxxxx",
		"postgres://pi@db/p?passfile=%2Fgeheim&PASSWORD=geheim":          "postgres://pi@db/p?PASSWORD=xxxxx&passfile=xxxxx",
		"postgres://pi@db/p?password=geheim&password=geheim":             "postgres://pi@db/p?password=xxxxx",
		"postgres://pi@db/p?sslmode=require;password=geheim#geheim":      "postgres://pi@db/p",
		"postgres://pi@db/p#geheim":                                      "postgres://pi@db/p",
		`host=db user=pi password=ge\ heim options='-c x=\'geheim'`:      "host=db user=pi password=xxxxx options=xxxxx",
		"host=db sslpassword = geheim sslmode=disable":                   "host=db sslpassword = xxxxx sslmode=disable",
		"host=db password=ge://heim":                                     "host=db password=xxxxx",
		"host=db password='ge heim":                                      "host=db password=xxxxx",
		"host=db passfile=/geheim custom='geheim'":                       "host=db passfile=xxxxx custom=xxxxx",
	} {
		if got := pgsync.RedactURL(text); got != want {
			t.Errorf("%s\nis shown as %s\nwant        %s", text, got, want)
		}
	}
}
