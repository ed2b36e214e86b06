package check

import (
	"slices"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/pathpattern"
)

// Endpoint returns the first fault of the settings of an endpoint.
func Endpoint(e picloud.Endpoint) error {
	if err := Handle("endpoint", e.Name); err != nil {
		return err
	}
	if err := Handle("script", e.Script); err != nil {
		return err
	}
	invalid := func(format string, args ...any) error { return picloud.ErrEndpointInvalid.Detailf(format, args...) }
	switch {
	case !slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE", "*"}, e.Method):
		return invalid("method: use GET, POST, PUT, PATCH, DELETE, or * for any")
	case e.Auth != picloud.EndpointPublic && e.Auth != picloud.EndpointKey:
		return invalid("auth: use public or key")
	case e.Timeout < 100*time.Millisecond || e.Timeout > picloud.MaxEndpointTimeout:
		return invalid("timeout_sec: use 0.1 to %d", picloud.MaxEndpointTimeout/time.Second)
	case !text(e.Path, picloud.MaxEndpointPath):
		return invalid("path: use at most %d bytes of UTF-8 without NUL", picloud.MaxEndpointPath)
	case !text(e.Export, picloud.MaxKey):
		return invalid("export: use at most %d bytes of UTF-8 without NUL", picloud.MaxKey)
	}
	if _, err := pathpattern.Parse(e.Path); err != nil {
		return invalid("path: %v", err)
	}
	return nil
}
