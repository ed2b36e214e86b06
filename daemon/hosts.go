package daemon

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud/certificate"
)

// hosts is a list of host names in lower case, some of which may begin with "*.".
var hosts = func() field[Config] {
	f := words(func(c *Config) *[]string { return &c.AllowedHosts })
	split := f.set
	f.set = func(c *Config, v string) error {
		if err := split(c, strings.ToLower(v)); err != nil {
			return err
		}
		for i, host := range c.AllowedHosts {
			host = strings.TrimSuffix(host, ".")
			if !IsHostName(strings.TrimPrefix(host, "*.")) {
				return fmt.Errorf("%q: use a name such as pi.example.org, or *.example.org for all names below it; without scheme and port", host)
			}
			c.AllowedHosts[i] = host
		}
		return nil
	}
	return f
}()

// IsHostName reports whether a text in lower case is letters, digits, hyphens and
// underscores with single dots between them.
func IsHostName(text string) bool {
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// hostsLast is for how long the names of the node are taken as they were.
const hostsLast = time.Second

// hostNames are the names of the node for the Host header. They follow the machine's host
// name, the certificate and the configuration.
type hostNames struct {
	config      func() Config
	machine     func() (string, error) // nil: os.Hostname
	certificate *certificate.Keeper    // nil: none

	mu       sync.Mutex // guards what follows
	at       time.Time
	names    []string
	machines []string // host names that the machine has had, newest last
}

// hostsKept is how many host names of the machine the node answers to: the network knows an
// earlier one until the multicast DNS service starts again.
const hostsKept = 4

// list returns the names: the configured ones, those of the certificate, and the node's name
// and the machine's host names, all also as they are called in the domain local.
func (h *hostNames) list() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); h.names == nil || now.Sub(h.at) >= hostsLast {
		h.at, h.names = now, h.read()
	}
	return h.names
}

// renames is how many other machines of the network may have the same name before this one: the
// multicast DNS service calls it NAME-2.local, NAME-3.local and so on then.
const renames = 9

func (h *hostNames) read() []string {
	cfg := h.config()
	names := slices.Clone(cfg.AllowedHosts)
	if h.certificate != nil {
		names = append(names, h.certificate.Hosts()...)
	}
	machine := h.machine
	if machine == nil {
		machine = os.Hostname
	}
	if host, err := machine(); err == nil && !slices.Contains(h.machines, host) {
		h.machines = append(h.machines, host)
		h.machines = h.machines[max(0, len(h.machines)-hostsKept):]
	}
	for _, name := range append(slices.Clone(h.machines), cfg.Name) {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if !IsHostName(name) {
			continue // a name for people
		}
		first, _, _ := strings.Cut(name, ".")
		names = append(names, name, first, first+".local")
		for n := 2; n <= renames; n++ {
			names = append(names, fmt.Sprintf("%s-%d.local", first, n))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// OwnHosts returns what a certificate of this machine is for: NAME.local, which comes first, the
// host name, the name of the node, localhost, and the private addresses that the machine has.
func (c Config) OwnHosts() []string {
	var hosts []string
	machine, _ := os.Hostname() // without one there are the others
	for _, name := range []string{machine, c.Name} {
		if name = strings.ToLower(strings.TrimSuffix(name, ".")); IsHostName(name) && name != "localhost" {
			first, _, _ := strings.Cut(name, ".")
			hosts = append(hosts, first+".local", first, name)
		}
	}
	hosts = append(hosts, "localhost")
	addrs, _ := net.InterfaceAddrs() // without them there are the names
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsPrivate() {
			hosts = append(hosts, n.IP.String())
		}
	}
	return append(hosts, "127.0.0.1", "::1")
}
