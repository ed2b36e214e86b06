package daemon_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picloud/picloud/daemon"
)

// OP-2, DM-1: a spool that has the node's own files in it would move the journal aside: it is refused, whatever the
// path looks like, and so are files of the node that lie in the spool.
func TestSpoolHasNoFilesOfTheNode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "data", "journal"), 0o700); err != nil {
		t.Fatal(err)
	}
	relink(t, "data", filepath.Join(dir, "link"))
	for text, want := range map[string]string{
		"spool = '%[1]s/data'":                                   "FILE:2: spool: ",
		"spool = '%[1]s'":                                        "FILE:2: spool: ",
		"spool = '/'":                                            "FILE:2: spool: ",
		"spool = '%[1]s/link'":                                   "FILE:2: spool: ",
		"spool = '%[1]s/link/journal'":                           "FILE:2: spool: ",
		"spool = '%[1]s/data/../data/files/new'":                 "FILE:2: spool: ",
		"spool = '%[1]s/data/damaged'":                           "FILE:2: spool: ",
		"apps_dir = '%[1]s/data/spool'":                          "FILE:2: apps_dir: ",
		"apps_dir = '%[1]s/data'":                                "FILE:2: apps_dir: ",
		"http.tls_key = '%[1]s/link/spool/k'\nhttp.tls_cert='c'": "FILE:2: http.tls_key: ",
		"secrets.key_file = '%[1]s/data/spool/a/b/key'":          "FILE:2: secrets.key_file: ",
		"spool = '%[1]s/drop'\nsocket = '%[1]s/drop/s'":          "FILE:3: socket: ",
	} {
		list := faultsOf(t, fmt.Sprintf("data = '%[1]s/data'\n"+text+"\n", dir))
		if len(list) != 1 || !strings.HasPrefix(list[0], want) {
			t.Errorf("%s: %q", text, list)
		}
	}
	for _, text := range []string{"", "spool = 'off'", "spool = '%[1]s/drop'", "spool = '%[1]s/data/spool'", "spool = '%[1]s/data/drop'", "spool = '%[1]s/journal'", "apps_dir = '%[1]s/apps'", "socket = '%[1]s/data/s'"} {
		if list := faultsOf(t, fmt.Sprintf("data = '%[1]s/data'\n"+strings.ReplaceAll(text, "%[1]s", dir)+"\n", dir)); list != nil {
			t.Errorf("%s: %q", text, list)
		}
	}
}

// What no socket can be opened at is told before the node starts.
func TestAddressesThatCannotBe(t *testing.T) {
	t.Parallel()
	const pair = "http.tls_cert='/c'\nhttp.tls_key='/k'\nhttp.tls_listen='%s'\n"
	for _, address := range []string{"0.0.0.0:99999", "0.0.0.0:-1", "::1:7420", "256.1.1.1:80", "1.2.3:80", "pi local:7420", "0.0.0.0:7420 ", "0.0.0.0:", "7420", "[::1]", "http://pi:80", ""} {
		for key, text := range map[string]string{"listen": "\n\nlisten = '%s'\n", "http.tls_listen": pair} {
			if list := faultsOf(t, fmt.Sprintf(text, address)); len(list) != 1 || !strings.HasPrefix(list[0], "FILE:3: "+key+": ") || !strings.Contains(list[0], "use an address and a port") {
				t.Errorf("%s = %q: %q", key, address, list)
			}
		}
	}
	for _, address := range []string{":7420", "127.0.0.1:0", "[::1]:7420", "[fe80::1%eth0]:7420", "localhost:http", "Pi.local:7420"} {
		if list := faultsOf(t, "listen = '"+address+"'\n"); list != nil {
			t.Errorf("%q: %q", address, list)
		}
	}
	long := "/" + strings.Repeat("x", 107)
	if list := faultsOf(t, "socket = '"+long+"'\n"); len(list) != 1 || !strings.HasPrefix(list[0], "FILE:1: socket: ") {
		t.Errorf("a long path: %q", list)
	}
	if list := faultsOf(t, "data = '"+long+"'\n"); len(list) != 1 || !strings.HasPrefix(list[0], "FILE:1: data: ") {
		t.Errorf("a long data directory: %q", list)
	}
}

// Sizes can be added and multiplied without turning negative.
func TestSizesHaveAnEnd(t *testing.T) {
	t.Parallel()
	for i := range daemon.Settings {
		s := &daemon.Settings[i]
		if s.Kind != daemon.KindNumber {
			continue
		}
		for _, n := range []string{"9223372036854775807", "-9223372036854775808", "4611686018427387904"} {
			if list := faultsOf(t, s.Key+" = "+n+"\n"); len(list) != 1 || !strings.HasPrefix(list[0], "FILE:1: "+s.Key+": ") {
				t.Errorf("%s = %s: %q", s.Key, n, list)
			}
		}
	}
}
