package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/picloud/picloud/hw"
)

// credentials is where systemd puts the credentials of units, for as long as they run.
const credentials = "/run/credentials/"

// CheckHere returns the settings that a node would refuse on this machine. The notes name settings that a node
// would ignore, and files that this user may not read. It changes nothing.
func (c *Config) CheckHere() (notes []string, err error) {
	var faults []fault
	switch lines, err := c.checkLines(); {
	case errors.Is(err, hw.ErrLinesUnknown):
		notes = append(notes, fmt.Sprintf("whether the board has the lines of the pins was not checked: %v", err))
	case err != nil:
		return nil, err
	default:
		faults = append(faults, lines...)
	}
	if _, err := c.credential(); errors.Is(err, fs.ErrPermission) || err != nil && strings.HasPrefix(c.SecretsKey, credentials) {
		notes = append(notes, fmt.Sprintf("the key of the secrets was not checked: %v", err))
	} else if err != nil {
		faults = append(faults, fault{"secrets.key_file", err})
	}
	if err := socketPlace(c.SocketPath()); err != nil {
		faults = append(faults, fault{"socket", err})
	}
	for _, folder := range []struct{ key, path string }{{"data", c.Data}, {"spool", c.spoolPath()}, {"apps_dir", c.appsDir()}} {
		if info, err := os.Stat(folder.path); err != nil || info.IsDir() || folder.path == "off" {
			continue // a node creates a missing directory
		}
		const text = "%s: there is something else; give a directory"
		if folder.key == "data" {
			faults = append(faults, fault{folder.key, fmt.Errorf(text, folder.path)})
		} else {
			notes = append(notes, fmt.Sprintf(folder.key+": "+text, folder.path))
		}
	}
	addresses := map[string]string{"listen": c.Listen}
	if c.hasTLS() {
		addresses["http.tls_listen"] = c.TLSListen
	}
	for key, address := range addresses {
		if err := hasAddress(address); err != nil {
			faults = append(faults, fault{key, err})
		}
	}
	return notes, errors.Join(c.locate(sorted(faults))...)
}

// checkLines returns what is wrong with the lines of the pins on this machine, or
// hw.ErrLinesUnknown.
func (c *Config) checkLines() ([]fault, error) {
	if c.Driver != hw.DriverKernel || len(c.Pins) == 0 {
		return nil, nil
	}
	list, err := hw.CheckLines(c.Pins)
	faults := make([]fault, len(list))
	for i, f := range list {
		faults[i] = fault{pinTable(&c.Pins[f.Pin]) + ".line", f.Err}
	}
	return faults, err
}

// hasAddress returns an error when a port cannot be opened at a sound address because this machine does not have it.
func hasAddress(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0")) //nolint:noctx // opening a port does not wait
	if err == nil {
		return ln.Close()
	}
	if reason := noAddress(err); reason != nil {
		return fmt.Errorf("%q: %w", address, reason)
	}
	return nil // for another reason, which says nothing of the address
}

// noAddress says what to do when the port of an address could not be opened because this machine does not have that address; nil: it has.
func noAddress(err error) error {
	var unknown *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return errors.New("this machine does not have the address; use one of its own ('ip address'), or 0.0.0.0 for all")
	case errors.As(err, &unknown):
		return fmt.Errorf("no address is known for %s; use an address of this machine, or 0.0.0.0 for all", unknown.Name)
	}
	return nil
}

// socketPlace returns an error when something other than a socket is at the path of the operator's socket, or none can be there.
func socketPlace(path string) error {
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("socket %s: there is something else; remove it, or choose another path with --socket", path)
	}
	if info, err := os.Stat(filepath.Dir(path)); err == nil && !info.IsDir() {
		return fmt.Errorf("socket %s: %s is no directory; choose another path with --socket", path, filepath.Dir(path))
	}
	return nil
}
