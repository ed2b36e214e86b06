package sdk

import (
	"net/netip"
	"testing"
)

// SC-4: what each form of an entry allows, as docs/scripts.md says.
func TestHostRules(t *testing.T) {
	t.Parallel()
	own := []netip.Addr{netip.MustParseAddr("192.168.1.5"), netip.MustParseAddr("192.168.1.6"), netip.MustParseAddr("2001:db8::5")}
	for _, c := range []struct {
		entry, host string
		port        uint16
		address     string
		matches     bool
		permits     bool
	}{
		{"example.org", "example.org", 443, "93.184.216.34", true, true},
		{"Example.ORG", "EXAMPLE.org.", 80, "93.184.216.34", true, true},
		{"example.org", "www.example.org", 80, "93.184.216.34", false, true},
		{"example.org:8443", "example.org", 8443, "93.184.216.34", true, true},
		{"example.org:8443", "example.org", 443, "93.184.216.34", false, true},
		{"*.example.org", "a.b.example.org", 80, "93.184.216.34", true, true},
		{"*.example.org", "example.org", 80, "93.184.216.34", false, true},
		{"*.example.org", "evilexample.org", 80, "93.184.216.34", false, true},
		{"*.example.org:80", "a.example.org", 81, "93.184.216.34", false, true},
		{"*", "anything", 1, "192.168.1.9", true, true},
		{"*:443", "anything", 80, "192.168.1.9", false, true},
		{"*", "own", 80, "192.168.1.6", true, false}, // a secondary address
		{"*", "own", 80, "::ffff:192.168.1.6", true, false},
		{"*", "own", 80, "64:ff9b::c0a8:106", true, false},
		{"*", "own", 80, "2002:c0a8:106::1", true, false},
		{"*", "own", 80, "2001:db8::5", true, false},
		{"name", "name", 80, "192.168.1.6", true, false},
		{"192.168.1.6", "192.168.1.6", 80, "192.168.1.6", true, true},
		{"192.168.1.6:80", "192.168.1.6", 81, "192.168.1.6", false, true},
		{"192.168.1.6", "192.168.1.5", 80, "192.168.1.5", false, false},
		{"[2001:db8::5]:80", "2001:db8:0::5", 80, "2001:db8::5", true, true},
		{"2001:db8::5", "2001:db8::5", 80, "2001:db8::5", true, true},
		{"*", "cloud", 80, "169.254.169.254", true, false},
		{"cloud", "cloud", 80, "169.254.169.254", true, false},
		{"169.254.169.254", "169.254.169.254", 80, "169.254.169.254", true, true},
		{"*", "cloud", 80, "fd00:ec2::254", true, false},
		{"cloud", "cloud", 80, "fd00:ec2::254", true, true},
		{"*.home.arpa", "pi.home.arpa", 80, "fd12::1", true, true},
		{"*", "cloud", 80, "100.100.100.200", true, false},
		{"*", "cloud", 80, "192.0.0.192", true, false},
		{"*", "link", 80, "fe80::1%eth0", true, false},
		{"fe80::1%eth0", "fe80::1%eth0", 80, "fe80::1%eth0", true, true},
		{"*", "zero", 80, "0.1.2.3", true, false},
		{"0.0.0.0", "0.0.0.0", 80, "0.0.0.0", true, false},
		{"::", "::", 80, "::", true, false},
		{"*", "multicast", 80, "224.0.0.251", true, false},
		{"*", "multicast", 80, "ff02::fb", true, false},
		{"*", "broadcast", 80, "255.255.255.255", true, false},
		{"*", "compatible", 80, "::7f00:1", true, false},
		{"*", "translated", 80, "::ffff:0:7f00:1", true, false},
		{"*", "isatap", 80, "2001:db8:1::5efe:7f00:1", true, false},
		{"*", "nat64", 80, "64:ff9b::5db8:d822", true, true},
		{"localhost", "localhost", 80, "127.0.0.1", true, true},
		{"localhost", "localhost", 80, "::1", true, true},
		{"localhost", "localhost", 80, "192.168.1.5", true, false},
		{"localhost:80", "localhost", 81, "127.0.0.1", false, true},
	} {
		r, err := parseHostRule(c.entry)
		if err != nil {
			t.Errorf("%s: %v", c.entry, err)
			continue
		}
		if got := r.matches(c.host, c.port); got != c.matches {
			t.Errorf("%s matches %s:%d: %t", c.entry, c.host, c.port, got)
		}
		if got := r.permits(netip.MustParseAddr(c.address), own); got != c.permits {
			t.Errorf("%s permits %s: %t", c.entry, c.address, got)
		}
	}
	for _, entry := range []string{"", "http://example.org", "example.org/x", "a*.example.org", "*.", "*example.org", "example.org:", "example.org:0", "example.org:99999", "[example.org]", "10.0.0.0/8", "b\u00fccher.example"} {
		if err := CheckHTTPHost(entry); err == nil {
			t.Errorf("%q is understood", entry)
		}
	}
}
