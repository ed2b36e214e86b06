package provision

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

// File is what makes a directory an app.
const File = "app.toml"

// maxApp bounds it, in bytes.
const maxApp = 1 << 20

// Read reads a directory. Faults name the file and the line. A link that leads out of
// the directory is a fault: the node may read what those who write to it may not.
func Read(dir string) (api.Spec, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return api.Spec{}, fmt.Errorf("read the app: %w", err)
	}
	defer func() { _ = root.Close() }() // only read
	file := filepath.Join(dir, File)
	b, err := readFile(root, File, maxApp)
	if err != nil {
		return api.Spec{}, err
	}
	s := api.Spec{Scripts: map[string]string{}}
	d := toml.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return api.Spec{}, tomlFault(file, err)
	}
	if s.Name == "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return api.Spec{}, fmt.Errorf("read the app: %w", err)
		}
		s.Name = filepath.Base(abs)
	}
	return s, readScripts(&s, root, ".", "scripts")
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

func readScripts(s *api.Spec, root *os.Root, dirs ...string) error {
	from := map[string]string{}
	for _, dir := range dirs {
		entries, err := fs.ReadDir(root.FS(), dir)
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
				return fmt.Errorf("%s and %s are both the script %q", filepath.Join(root.Name(), other), filepath.Join(root.Name(), file), name)
			}
			if len(from) == picloud.MaxScripts {
				return fmt.Errorf("%s has more than %d scripts, which is the limit", root.Name(), picloud.MaxScripts)
			}
			b, err := readFile(root, file, picloud.MaxScript)
			if err != nil {
				return err
			}
			if !utf8.Valid(b) {
				return fmt.Errorf("%s is not UTF-8", filepath.Join(root.Name(), file))
			}
			from[name], s.Scripts[name] = file, string(b)
		}
	}
	return nil
}

// readFile reads a file that has an end: a pipe would hold us up, and a device could
// be read for ever.
func readFile(root *os.Root, file string, limit int64) ([]byte, error) {
	name := filepath.Join(root.Name(), file)
	info, err := root.Stat(file)
	if err == nil && !info.Mode().IsRegular() { // opening a device may do something already
		return nil, fmt.Errorf("%s is no ordinary file", name)
	}
	var f *os.File
	if err == nil {
		f, err = root.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer func() { _ = f.Close() }() // only read
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no ordinary file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes, which is the limit", name, limit)
	}
	return b, nil
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
