package provision

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/picloud/picloud"
)

// File is what makes a directory an app.
const File = "app.toml"

// Read reads a directory. Faults name the file and the line.
func Read(dir string) (Spec, error) {
	file := filepath.Join(dir, File)
	b, err := os.ReadFile(file) // #nosec G304 -- the operator names it
	if err != nil {
		return Spec{}, fmt.Errorf("read the app: %w", err)
	}
	s := Spec{Scripts: map[string]string{}}
	d := toml.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return Spec{}, tomlFault(file, err)
	}
	if s.Name == "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return Spec{}, fmt.Errorf("read the app: %w", err)
		}
		s.Name = filepath.Base(abs)
	}
	return s, readScripts(&s, dir, filepath.Join(dir, "scripts"))
}

func tomlFault(file string, err error) error {
	var unknown *toml.StrictMissingError
	var syntax *toml.DecodeError
	switch {
	case errors.As(err, &unknown):
		line, _ := unknown.Errors[0].Position()
		return fmt.Errorf("%s:%d: the key %s is not known", file, line, strings.Join(unknown.Errors[0].Key(), "."))
	case errors.As(err, &syntax):
		line, _ := syntax.Position()
		return fmt.Errorf("%s:%d: %w", file, line, err)
	}
	return fmt.Errorf("%s: %w", file, err)
}

func readScripts(s *Spec, dirs ...string) error {
	from := map[string]string{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the app: %w", err)
		}
		for _, e := range entries {
			name, ok := ScriptName(e.Name())
			if !ok || e.IsDir() {
				continue
			}
			file := filepath.Join(dir, e.Name())
			if other, twice := from[name]; twice {
				return fmt.Errorf("%s and %s are both the script %q", other, file, name)
			}
			info, err := e.Info()
			if err != nil {
				return fmt.Errorf("read the app: %w", err)
			}
			if info.Size() > picloud.MaxScript {
				return fmt.Errorf("%s has %d bytes, the limit for a script is %d", file, info.Size(), picloud.MaxScript)
			}
			b, err := os.ReadFile(file) // #nosec G304 -- in a directory that the operator names
			if err != nil {
				return fmt.Errorf("read the app: %w", err)
			}
			from[name], s.Scripts[name] = file, string(b)
		}
	}
	return nil
}

// ScriptName returns what a script is called that a file holds; false: it holds
// none.
func ScriptName(file string) (string, bool) {
	ext := filepath.Ext(file)
	if strings.HasPrefix(file, ".") || !slices.Contains([]string{".js", ".mjs"}, ext) {
		return "", false
	}
	return strings.TrimSuffix(file, ext), true
}
