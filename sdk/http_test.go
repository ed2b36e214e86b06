package sdk_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/sdk"
)

// SC-4: that any host may be asked does not open this machine to scripts, by
// whatever name; allowing it by its address does.
func TestAnyHostIsNotThisMachine(t *testing.T) {
	t.Parallel()
	site, err := url.Parse(website(t))
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(host string, allowed ...string) error {
		target, _ := json.Marshal("http://" + host + ":" + site.Port() + "/bytes")
		_, err := sdk.New(sdk.Config{HTTPHosts: allowed}).Call(t.Context(), picloud.ScriptCall{App: "a", Script: "s", Module: "http", Method: "fetch", Args: []json.RawMessage{target}})
		return err
	}
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "2130706433", "169.254.169.254"} {
		if err := fetch(host, "*"); err == nil {
			t.Errorf("%s was reached", host)
		}
	}
	for _, host := range []string{"127.0.0.1", "localhost"} {
		if err := fetch(host, host); err != nil {
			t.Errorf("%s was allowed and not reached: %v", host, err)
		}
	}
	var e *picloud.Error
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own { // on a machine without a network there is the loopback alone
		ip, _, err := net.ParseCIDR(a.String())
		if err != nil || ip.To4() == nil {
			continue
		}
		if err := fetch(ip.String(), "*"); !errors.As(err, &e) || e.Type != "http-not-allowed" {
			t.Errorf("%v, an address of this machine: %v", ip, err)
		}
	}
	if err := fetch("example.org", "*.example.org", "example.com"); !errors.As(err, &e) || e.Type != "http-not-allowed" {
		t.Errorf("a host that is not allowed: %v", err)
	}
}
