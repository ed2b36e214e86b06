package auth_test

import (
	"strings"
	"testing"

	"github.com/picloud/picloud/auth"
)

// AU-3: what reads like an API key is found wherever it stands.
func TestAPIKeysAreRedacted(t *testing.T) {
	t.Parallel()
	key := "pck_abcdefghij_" + strings.Repeat("a2", 26)
	for text, want := range map[string]string{
		"":                             "",
		"packet":                       "packet",
		key:                            "REDACTED",
		"Bearer " + key:                "Bearer REDACTED",
		"a=b; key=" + key + "; c=d":    "a=b; key=REDACTED; c=d",
		"https://x/?k=" + key + "&l=m": "https://x/?k=REDACTED&l=m",
		strings.ToUpper(key) + " x":    "REDACTED x",
		"pck%5F" + key[4:]:             "REDACTED",
		key + "," + key[:20]:           "REDACTED,REDACTED",
	} {
		if got := auth.RedactAPIKeys(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for credentials, want := range map[string]bool{
		"Basic dXNlcjpwYXNz":                         false,
		"Basic dXNlcjpwY2tfYWJjZGVmZ2hpal9hYWFhYWFh": true,
		"Basic cGNrX2FiYzo=":                         true,
		"Token\t" + key:                              true,
		"Digest username=\"" + key + "\"":            true,
		"Bearer eyJ.x.y":                             false,
	} {
		if got := auth.HoldsAPIKey(credentials); got != want {
			t.Errorf("%q holds a key: %t", credentials, got)
		}
	}
}
