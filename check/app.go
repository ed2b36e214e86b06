package check

import (
	"net/url"

	"github.com/picloud/picloud"
)

// App returns the first fault of the settings of an app.
func App(a picloud.App) error {
	if err := AppName(a.Name); err != nil {
		return err
	}
	if !text(a.Description, picloud.MaxDescription) {
		return picloud.ErrAppInvalid.Detailf("description: use at most %d bytes of UTF-8 without NUL", picloud.MaxDescription)
	}
	if len(a.AllowedOrigins) > picloud.MaxOrigins {
		return picloud.ErrAppInvalid.Detailf("allowed_origins: at most %d origins", picloud.MaxOrigins)
	}
	for i, o := range a.AllowedOrigins {
		if !validOrigin(o) {
			return picloud.ErrAppInvalid.Detailf("allowed_origins[%d]: write an origin as a browser sends it, such as https://panel.example or http://192.168.1.5:8080, or \"*\"", i)
		}
	}
	return nil
}

func validOrigin(o string) bool {
	if o == "*" {
		return true
	}
	u, err := url.Parse(o)
	return plain(o) && err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && o == u.Scheme+"://"+u.Host
}
