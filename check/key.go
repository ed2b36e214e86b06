package check

import (
	"slices"
	"strings"

	"github.com/picloud/picloud"
)

// APIKey returns the first fault of the settings of an API key. Whether its app exists
// is not checked.
func APIKey(k picloud.APIKey) error {
	all := picloud.Scopes()
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = string(s)
	}
	if len(k.Scopes) == 0 {
		return picloud.ErrKeyInvalid.Detailf("scopes: give at least one of %s", strings.Join(texts, ", "))
	}
	for _, s := range k.Scopes {
		if !slices.Contains(all, s) {
			return picloud.ErrKeyInvalid.Detailf("scopes: %q is none of %s", s, strings.Join(texts, ", "))
		}
		if k.App != "" && s.Instance() {
			return picloud.ErrKeyInvalid.Detailf("scopes: a key of one app cannot hold %s; leave out the app, or use an app: scope", s)
		}
	}
	if k.App != "" {
		if err := AppName(k.App); err != nil {
			return err
		}
	}
	if len(k.Label) > picloud.MaxLabel || !plain(k.Label) {
		return picloud.ErrKeyInvalid.Detailf("label: use at most %d bytes of UTF-8 without control characters", picloud.MaxLabel)
	}
	return nil
}
