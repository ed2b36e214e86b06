package sdk

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// hostRule is one entry of scripts.http_hosts. docs/scripts.md says what each form
// allows.
type hostRule struct {
	host   string     // exact name, lower case; empty for the other forms
	domain string     // of *.domain, lower case and with the dot before it
	addr   netip.Addr // the entry is an address
	any    bool       // the entry is *
	port   uint16     // 0: any
}

// CheckHTTPHost returns an error when an entry of scripts.http_hosts has no form that
// is understood.
func CheckHTTPHost(entry string) error {
	_, err := parseHostRule(entry)
	return err
}

func parseHostRule(entry string) (hostRule, error) {
	var r hostRule
	host := strings.ToLower(strings.TrimSpace(entry))
	bad := fmt.Errorf("%q: use host, host:port, *.domain, an address or *", entry)
	if _, err := netip.ParseAddr(host); err != nil { // an IPv6 address has colons of its own
		if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
			port, err := strconv.ParseUint(host[i+1:], 10, 16)
			if err != nil || port == 0 {
				return r, bad
			}
			host, r.port = host[:i], uint16(port)
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
		if _, err := netip.ParseAddr(host); err != nil {
			return r, bad
		}
	}
	r.any = host == "*"
	host = canonicalHost(host)
	addr, err := netip.ParseAddr(host)
	domain, isDomain := strings.CutPrefix(host, "*")
	switch {
	case err == nil:
		r.addr = addr.Unmap()
	case r.any:
	case isDomain && len(domain) > 1 && domain[0] == '.' && isName(domain[1:]):
		r.domain = domain
	case isName(host):
		r.host = host
	default:
		return r, bad
	}
	return r, nil
}

// isName reports whether a host can be a DNS name, in the form in which DNS has it.
func isName(host string) bool {
	return host != "" && strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}

// canonicalHost returns a host as rules compare it: DNS ignores the case of letters
// and a dot at the end.
func canonicalHost(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }

// matches reports whether a rule is about the host and port of a URL.
func (r *hostRule) matches(host string, port uint16) bool {
	if r.port != 0 && r.port != port {
		return false
	}
	host = canonicalHost(host)
	switch {
	case r.any:
		return true
	case r.domain != "":
		return strings.HasSuffix(host, r.domain) && len(host) > len(r.domain)
	case r.addr.IsValid():
		addr, err := netip.ParseAddr(host)
		return err == nil && addr.Unmap() == r.addr
	}
	return host == r.host
}

// permits reports whether a rule that matches a URL permits the address to which
// the host of that URL resolves.
func (r *hostRule) permits(addr netip.Addr, own []netip.Addr) bool {
	switch reachOf(addr, own) {
	case reachPublic:
		return true
	case reachPrivate:
		return !r.any
	case reachInward:
		return r.addr == addr.Unmap() || r.host == "localhost" && addr.Unmap().IsLoopback()
	case reachNowhere:
	}
	return false
}

// reach says how far away the host of an address is.
type reach int

const (
	reachPublic  reach = iota // any host, those of the LAN included
	reachPrivate              // unique-local and shared addresses, among them metadata services of clouds
	reachInward               // this machine, its links, and what is reserved
	reachNowhere              // no single host: unspecified, multicast, broadcast
)

var (
	nowherePrefixes = prefixes("0.0.0.0/8", "::/128", "224.0.0.0/4", "255.255.255.255/32", "ff00::/8")
	inwardPrefixes  = prefixes("127.0.0.0/8", "::1/128", "169.254.0.0/16", "fe80::/10", "fec0::/10", "192.0.0.0/24", "240.0.0.0/4")
	privatePrefixes = prefixes("fc00::/7", "100.64.0.0/10", "64:ff9b:1::/48", "2001::/32")
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, text := range list {
		out[i] = netip.MustParsePrefix(text)
	}
	return out
}

func within(addr netip.Addr, list []netip.Prefix) bool {
	addr = addr.WithZone("") // no prefix contains an address with a zone
	for _, p := range list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// reachOf returns the reach of an address, or that of the IPv4 address inside it
// when that is nearer: a gateway or a tunnel of this machine may lead there.
func reachOf(addr netip.Addr, own []netip.Addr) reach {
	addr = addr.Unmap()
	found := reachPublic
	if inner, ok := embeddedIPv4(addr); ok {
		found = reachOf(inner, own)
	}
	switch {
	case within(addr, nowherePrefixes):
		return reachNowhere
	case within(addr, inwardPrefixes):
		return max(found, reachInward)
	case within(addr, privatePrefixes):
		found = max(found, reachPrivate)
	}
	for _, a := range own {
		if a.Unmap().WithZone("") == addr.WithZone("") {
			return max(found, reachInward)
		}
	}
	return found
}

// embeddedIPv4 returns the IPv4 address to which an IPv6 address is translated or
// tunnelled.
func embeddedIPv4(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	b := addr.As16()
	at := -1
	switch {
	case within(addr, translatedPrefixes):
		at = 12
	case b[0] == 0x20 && b[1] == 0x02: // 6to4
		at = 2
	case b[8]&^0x03 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP
		at = 12
	}
	if at < 0 || addr.IsUnspecified() || addr.IsLoopback() {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(b[at : at+4])), true
}

// translatedPrefixes end in an IPv4 address: NAT64, IPv4-compatible and
// IPv4-translated addresses.
var translatedPrefixes = prefixes("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")
