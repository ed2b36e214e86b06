package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ownFolders are folders of the data directory that the node alone writes to.
var ownFolders = []string{"journal", "files", "damaged", ".restoring"}

// checkOff finds folders whose name was probably meant as the word "off".
func (c *Config) checkOff() (faults []fault) {
	for key, value := range map[string]string{"spool": c.Spool, "apps_dir": c.Apps} {
		if value != "off" && strings.EqualFold(value, "off") {
			faults = append(faults, fault{key, fmt.Errorf("%q: write \"off\" for none, or a path with a / for a folder of that name", value)})
		}
	}
	return sorted(faults)
}

// checkSpool finds files that the spool would take, though they are not dropped there: those of the node
// itself. Links are followed, since the spool follows them, too.
func (c *Config) checkSpool() (faults []fault) {
	if c.Spool == "off" || c.Data == "" {
		return nil
	}
	spool, data := realPath(c.spoolPath()), realPath(c.Data)
	below, inData := within(data, spool)
	first, _, _ := strings.Cut(below, string(filepath.Separator))
	if _, holds := within(spool, data); holds || inData && slices.Contains(ownFolders, first) {
		faults = append(faults, fault{"spool", fmt.Errorf("%q has the node's own files in it, which would be taken as dropped ones: use a folder of its own", c.Spool)})
	}
	for key, path := range map[string]string{
		"apps_dir": c.appsDir(), "socket": c.Socket, "http.tls_cert": c.TLSCert, "http.tls_key": c.TLSKey,
		"database.url_file": c.DatabaseURLFile, "secrets.key_file": c.SecretsKey,
	} {
		if path == "" {
			continue
		}
		if _, taken := within(spool, realPath(path)); taken {
			faults = append(faults, fault{key, fmt.Errorf("%q is in the spool (%s), where it would be taken as a dropped file: use another place", path, c.spoolPath())})
		} else if _, holds := within(realPath(path), spool); holds && key == "apps_dir" {
			faults = append(faults, fault{key, fmt.Errorf("%q has the spool (%s) in it: use a folder of its own", path, c.spoolPath())})
		}
	}
	return sorted(faults)
}

// within returns where a path is below a folder; "." is the folder itself.
func within(folder, path string) (below string, ok bool) {
	below, err := filepath.Rel(folder, path)
	return below, err == nil && below != ".." && !strings.HasPrefix(below, ".."+string(filepath.Separator))
}

// realPath returns the path without links, as far as there is something at it.
func realPath(path string) string {
	whole, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	for at := whole; ; at = filepath.Dir(at) {
		resolved, err := filepath.EvalSymlinks(at)
		if err == nil {
			rest, _ := filepath.Rel(at, whole) // it is below it
			return filepath.Join(resolved, rest)
		}
		if !errors.Is(err, os.ErrNotExist) || at == filepath.Dir(at) {
			return whole
		}
	}
}
