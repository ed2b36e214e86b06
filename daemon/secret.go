package daemon

import (
	"strings"

	"github.com/picloud/picloud/keyfile"
	"github.com/picloud/picloud/pgsync"
)

// Secrets returns the secrets that the configuration holds, or that files hold which it names and this
// process may read. They are to be kept out of whatever is shown or sent.
func (c Config) Secrets() []string {
	urls := []string{c.DatabaseURL, c.DatabaseDirectURL}
	var secrets []string
	if b, err := keyfile.Read(c.DatabaseURLFile, maxKey); err == nil {
		urls = append(urls, strings.TrimSpace(string(b)))
	}
	if b, err := keyfile.Read(c.SecretsKey, maxKey); err == nil {
		secrets = append(secrets, string(b))
	}
	for _, u := range urls {
		secrets = append(secrets, pgsync.Passwords(u)...)
	}
	return secrets
}
