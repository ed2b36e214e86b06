// Command modules tells what a Go binary consists of, from what the linker wrote into it:
//
//	modules sbom BINARY VERSION    a CycloneDX 1.6 document with the modules and their checksums
//	modules notices BINARY         the licences of the modules and of Go, as their authors ask of copies
//
// It is for scripts/release and packaging/debian/rules. Licences are read from the module cache: run it where the binary was built.
package main

import (
	"bytes"
	"cmp"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "modules:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: modules sbom BINARY VERSION, or modules notices BINARY")

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) < 2 {
		return errUsage
	}
	info, err := buildinfo.ReadFile(args[1])
	if err != nil {
		return fmt.Errorf("read what the binary consists of: %w", err)
	}
	for i, m := range info.Deps {
		if m.Replace != nil {
			info.Deps[i] = m.Replace
		}
	}
	slices.SortFunc(info.Deps, func(a, b *debug.Module) int { return cmp.Compare(a.Path, b.Path) })
	switch {
	case args[0] == "sbom" && len(args) == 3:
		return writeSBOM(out, info, args[2])
	case args[0] == "notices" && len(args) == 2:
		return writeNotices(ctx, out, info)
	}
	return errUsage
}

// component is one of CycloneDX.
type component struct {
	Type       string     `json:"type"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl"`
	Properties []property `json:"properties,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// The version of the product is not in the binary's own list: the linker's flags are left out of it with -trimpath.
func writeSBOM(out io.Writer, info *buildinfo.BuildInfo, version string) error {
	type metadata struct {
		Component component `json:"component"`
	}
	document := struct {
		Format     string      `json:"bomFormat"`
		Spec       string      `json:"specVersion"`
		Version    int         `json:"version"`
		Metadata   metadata    `json:"metadata"`
		Components []component `json:"components"`
	}{Format: "CycloneDX", Spec: "1.6", Version: 1}

	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	document.Metadata.Component = component{
		Type: "application", Name: "picloud", Version: version, PURL: "pkg:golang/" + info.Main.Path + "@v" + version,
		Properties: []property{{"go:arch", settings["GOARCH"] + settings["GOARM"]}},
	}
	document.Components = append(document.Components, component{
		Type: "library", Name: "std", Version: info.GoVersion, PURL: "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go"),
	})
	for _, m := range info.Deps {
		document.Components = append(document.Components, component{
			Type: "library", Name: m.Path, Version: m.Version, PURL: "pkg:golang/" + m.Path + "@" + m.Version,
			Properties: []property{{"go:sum", m.Sum}},
		})
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(document); err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	return nil
}

func writeNotices(ctx context.Context, out io.Writer, info *buildinfo.BuildInfo) error {
	folders, err := moduleFolders(ctx)
	if err != nil {
		return err
	}
	root, err := goTool(ctx, "env", "GOROOT")
	if err != nil {
		return err
	}
	fmt.Fprint(out, "PiCloud contains the libraries below, under these licences.\n")
	if err := writeNotice(out, "Go "+info.GoVersion, strings.TrimSpace(root)); err != nil {
		return err
	}
	for _, m := range info.Deps {
		folder, ok := folders[m.Path]
		if !ok {
			return fmt.Errorf("%s is not in the module cache: run 'go mod download'", m.Path)
		}
		if err := writeNotice(out, m.Path+" "+m.Version, folder); err != nil {
			return err
		}
	}
	return nil
}

// writeNotice writes the licences that lie in a module's folder. A module without one may not be distributed.
func writeNotice(out io.Writer, name, folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("look for the licence of %s: %w", name, err)
	}
	var found bool
	for _, e := range entries {
		if upper := strings.ToUpper(e.Name()); e.IsDir() || !strings.HasPrefix(upper, "LICEN") && !strings.HasPrefix(upper, "COPYING") && !strings.HasPrefix(upper, "NOTICE") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return fmt.Errorf("read the licence of %s: %w", name, err)
		}
		fmt.Fprintf(out, "\n%[1]s\n%s: %s\n%[1]s\n\n%[4]s\n", strings.Repeat("=", 78), name, e.Name(), bytes.TrimSpace(text))
		found = true
	}
	if !found {
		return fmt.Errorf("%s has no licence in %s", name, folder)
	}
	return nil
}

// moduleFolders returns where the modules of the build lie, by path.
func moduleFolders(ctx context.Context) (map[string]string, error) {
	list, err := goTool(ctx, "list", "-m", "-f", "{{if .Replace}}{{.Replace.Path}} {{.Replace.Dir}}{{else}}{{.Path}} {{.Dir}}{{end}}", "all")
	if err != nil {
		return nil, err
	}
	folders := make(map[string]string)
	for line := range strings.Lines(list) {
		if path, folder, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			folders[path] = folder
		}
	}
	return folders, nil
}

func goTool(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...) // #nosec G204 -- the arguments are those of this file
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", args[0], err)
	}
	return string(out), nil
}
