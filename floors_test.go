package picloud_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/picloud/picloud"

// floors is the house, top floor first. A package imports packages of lower
// floors only: never its own floor, never a higher one. What every floor may
// use is the vocabulary, which is the ground.
var floors = [][]string{
	{"cmd/picloud"},
	{"daemon"},
	{"httpapi", "trigger"},
	{"scrub"},
	{"publish", "realtime", "auth", "spool", "store", "dispatch", "script", "sdk", "provision", "pgsync", "hw", "hw/sensor", "sweeper", "stats"},
	{"journal"},
	{"migrations"},
	{"api", "check", "board"},
	{"pathpattern", "backoff", "budget", "live", "certificate"},
	{"keyfile"},
	{"."},
}

// beside are packages that stand outside the house: test support and tools.
// They may import anything, nothing of the house imports them but tests.
var beside = []string{"e2e", "e2e/appliance", "e2e/hubs", "journal/journaltest", "logtest", "hw/hwtest", "pgsync/pgtest", "scripts/check-skips", "scripts/changelog", "scripts/modules"}

// apart are imports that point down and are refused nevertheless: a client shares
// the bodies of package api with the server, not the server.
var apart = map[string][]string{"cmd/picloud": {"httpapi"}}

// thirdParty says which packages may import which libraries outside their
// tests. What is not listed is not used; docs/adr/0006-libraries.md says what
// each one is for.
var thirdParty = map[string][]string{
	"go.etcd.io/bbolt":                   {"store"},
	"github.com/fxamacker/cbor/v2":       {"store"},
	"github.com/tidwall/btree":           {"store"},
	"github.com/jackc/pgx/v5":            {"pgsync"},
	"github.com/valyala/fasthttp":        {"httpapi", "trigger"},
	"github.com/golang-jwt/jwt/v5":       {"auth"},
	"github.com/fsnotify/fsnotify":       {"spool", "daemon", "sweeper", "provision"},
	"github.com/coreos/go-systemd/v22":   {"daemon"},
	"github.com/pelletier/go-toml/v2":    {"daemon", "provision"},
	"github.com/cpuguy83/go-md2man/v2":   {"cmd/picloud"},
	"github.com/spf13/cobra":             {"cmd/picloud"},
	"github.com/spf13/pflag":             {"cmd/picloud"},
	"golang.org/x/term":                  {"cmd/picloud"},
	"periph.io/x/host/v3":                {"hw"},
	"modernc.org/quickjs":                {"script"},
	"modernc.org/libquickjs":             {"script"},
	"modernc.org/libc":                   {"script"},
	"github.com/elastic/go-seccomp-bpf":  {"script"},
	"github.com/netresearch/go-cron":     {"dispatch"},
	"github.com/VictoriaMetrics/metrics": {"store", "realtime", "spool", "httpapi", "daemon", "budget"},
	"periph.io/x/conn/v3":                {"hw", "hw/sensor"},
	"periph.io/x/devices/v3":             {"hw", "hw/sensor"},
	"golang.org/x/sys":                   {"journal", "store", "realtime", "spool", "auth", "httpapi", "pgsync", "script", "hw", "hw/sensor", "daemon", "budget", "cmd/picloud"},
}

// Limits on size: what does not fit in a head does not fit in a file.
const (
	maxRootLines = 1600
	maxFileLines = 600
)

// goFile is one parsed file of the tree.
type goFile struct {
	name  string // relative to the root, with slashes
	pkg   string // its folder; "." is the root
	test  bool
	lines int
	ast   *ast.File
}

func parseTree(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") ||
				slices.Contains([]string{"testdata", "node_modules", "var", "bin", "dist"}, base)) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parse %s: %w", name, err)
		}
		name = filepath.ToSlash(name)
		files = append(files, goFile{
			name:  name,
			pkg:   path.Dir(name),
			test:  strings.HasSuffix(name, "_test.go"),
			lines: bytes.Count(src, []byte("\n")),
			ast:   f,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go file found: the test must run in the root of the module")
	}
	return files
}

func floorOf(pkg string) int {
	return slices.IndexFunc(floors, func(f []string) bool { return slices.Contains(f, pkg) })
}

// fault returns what is wrong with pkg importing imp in code that is not a
// test, or "".
func fault(pkg, imp string) string {
	if slices.Contains(beside, pkg) {
		return ""
	}
	inside, own := strings.CutPrefix(imp, module)
	switch {
	case own && (inside == "" || inside[0] == '/'):
		to := strings.TrimPrefix(inside, "/")
		if to == "" {
			to = "."
		}
		if slices.Contains(beside, to) {
			return fmt.Sprintf("%s is test support or a tool: only tests may import it", to)
		}
		from, floor := floorOf(pkg), floorOf(to)
		switch {
		case from < 0 || floor < 0:
			return "" // TestPackagesHaveAFloor tells
		case pkg == ".":
			return "the root package is the vocabulary: it imports the standard library only"
		case slices.Contains(apart[pkg], to):
			return fmt.Sprintf("%s does not import %s: what both need is in package api", pkg, to)
		case floor < from:
			return fmt.Sprintf("imports point down only, and %s is on a higher floor", to)
		case floor == from:
			return fmt.Sprintf("%s is a neighbour on the same floor: declare the one to four methods you call as an interface here, and let daemon/wire.go join the two", to)
		}
		return ""
	case !strings.Contains(strings.SplitN(imp, "/", 2)[0], "."):
		return "" // standard library
	case pkg == ".":
		return "the root package is the vocabulary: it imports the standard library only"
	}
	for lib, users := range thirdParty {
		if imp == lib || strings.HasPrefix(imp, lib+"/") {
			if slices.Contains(users, pkg) {
				return ""
			}
			return fmt.Sprintf("%s belongs to %s: ask that package instead", lib, strings.Join(users, ", "))
		}
	}
	return "no package may import this library: a new one needs a line in docs/adr/0006-libraries.md and in floors_test.go"
}

// Imports point down, neighbours do not know each other, and every library has
// its owners.
func TestFloors(t *testing.T) {
	t.Parallel()
	for _, f := range parseTree(t) {
		if f.test {
			continue
		}
		for _, spec := range f.ast.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if why := fault(f.pkg, imp); why != "" {
				t.Errorf("%s imports %s: %s", f.name, imp, why)
			}
		}
	}
}

// The rules themselves refuse what they are there to refuse.
func TestFloorsRefuse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pkg, imp string
		ok       bool
	}{
		{"daemon", module + "/store", true},
		{"store", module + "/journal", true},
		{"store", module, true},
		{"store", "bytes", true},
		{"store", "go.etcd.io/bbolt", true},
		{"daemon", "github.com/coreos/go-systemd/v22/daemon", true},
		{"e2e", module + "/store", true},
		{"cmd/picloud", module + "/api", true},
		{"httpapi", module + "/api", true},
		{"cmd/picloud", module + "/httpapi", false},
		{"api", module + "/provision", false},
		{"store", module + "/daemon", false},
		{"store", module + "/realtime", false},
		{"journal", module + "/store", false},
		{"httpapi", "go.etcd.io/bbolt", false},
		{"store", "example.org/left-pad", false},
		{"store", module + "/journal/journaltest", false},
		{".", module + "/journal", false},
		{".", "golang.org/x/sys/unix", false},
	} {
		if got := fault(c.pkg, c.imp); (got == "") != c.ok {
			t.Errorf("%s imports %s: fault is %q, allowed should be %v", c.pkg, c.imp, got, c.ok)
		}
	}
}

// Every package has a place in the house.
func TestPackagesHaveAFloor(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, f := range parseTree(t) {
		if seen[f.pkg] {
			continue
		}
		seen[f.pkg] = true
		if floorOf(f.pkg) < 0 && !slices.Contains(beside, f.pkg) {
			t.Errorf("package %s has no floor: give it one in floors_test.go and in ARCHITECTURE.md", f.pkg)
		}
	}
}

// Every package says what it is, in exactly one place.
func TestPackagesHaveAComment(t *testing.T) {
	t.Parallel()
	comments := make(map[string][]string)
	for _, f := range parseTree(t) {
		if f.test && f.pkg != "e2e" { // e2e is nothing but tests
			continue
		}
		if _, ok := comments[f.pkg]; !ok {
			comments[f.pkg] = nil
		}
		if f.ast.Doc.Text() != "" {
			comments[f.pkg] = append(comments[f.pkg], f.name)
		}
	}
	for pkg, in := range comments {
		if len(in) != 1 {
			t.Errorf("package %s has %d package comments %v: one is right", pkg, len(in), in)
		}
	}
}

// The vocabulary stays small, and a file holds one idea.
func TestSizes(t *testing.T) {
	t.Parallel()
	root := 0
	for _, f := range parseTree(t) {
		if f.test {
			continue
		}
		if f.pkg == "." {
			root += f.lines
		}
		if f.lines > maxFileLines {
			t.Errorf("%s has %d lines: split it, %d is the limit", f.name, f.lines, maxFileLines)
		}
	}
	if root >= maxRootLines {
		t.Errorf("the root package has %d lines: fewer than %d is the limit", root, maxRootLines)
	}
}
