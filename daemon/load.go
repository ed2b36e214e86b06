package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/keyfile"
)

// dropIns is the directory beside the main file whose files are read after it.
const dropIns = "conf.d"

// DefaultFile is the configuration file of an installed node.
const DefaultFile = "/etc/picloud/picloud.toml"

// Source says where settings come from. Later ones win: the defaults, the file
// and the files in conf.d beside it, the environment, the flags.
type Source struct {
	File  string            // empty: DefaultFile, which may be missing; any other must be there
	Env   []string          // as os.Environ has it
	Flags map[string]string // those that were given, by name
}

// Load reads the configuration. All faults are reported together, each with
// where it is.
func Load(src Source) (Config, error) {
	c := DefaultConfig()
	var faults []error
	files, err := src.files()
	if err != nil {
		faults = append(faults, err)
	}
	for _, f := range files {
		faults = append(faults, loadFile(&c, f)...)
	}
	faults = append(faults, loadEnv(&c, src.Env)...)
	for i := range Settings {
		s := &Settings[i]
		if v, given := src.Flags[s.Flag]; given && s.Flag != "" {
			c.noteSetting(s.Key, "--"+s.Flag)
			if err := s.set(&c, v); err != nil {
				faults = append(faults, fmt.Errorf("--%s: %w", s.Flag, err))
			}
		}
	}
	if len(faults) == 0 {
		c.completeInputs()
		faults = c.locate(c.check())
	}
	return c, errors.Join(faults...)
}

// files lists the configuration files in the order they are read.
func (src Source) files() ([]string, error) {
	main := src.File
	if main == "" {
		main = DefaultFile
	}
	var files []string
	switch _, err := os.Stat(main); {
	case err == nil:
		files = append(files, main)
	case src.File != "" || !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("configuration: %w", err)
	}
	more, err := dropInsOf(main)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return append(files, more...), nil
}

// dropInsOf returns the files that are read after a file, in order. Hidden ones are those of
// editors.
func dropInsOf(file string) ([]string, error) {
	dir := filepath.Join(filepath.Dir(file), dropIns)
	entries, err := os.ReadDir(dir) // by name
	if _, at := os.Lstat(dir); at != nil && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) {
		return nil, nil // a link to nothing and a file are there, and a fault
	}
	var files []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".toml") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, err
}

// maxFile bounds a configuration file in bytes.
const maxFile = 1 << 20

func loadFile(c *Config, name string) []error {
	if name == os.DevNull {
		return nil
	}
	b, err := keyfile.Read(name, maxFile)
	if err != nil {
		return []error{fmt.Errorf("configuration: %w", err)}
	}
	return parseTOML(c, name, b)
}

// apply sets what a known key says.
func apply(c *Config, key string, value *unstable.Node) error {
	if output, name, field, ok := pinKey(key); ok {
		return c.setPin(output, name, field, value)
	}
	if name, field, ok := sensorKey(key); ok {
		return c.setSensor(name, field, value)
	}
	s := &Settings[slices.IndexFunc(Settings, func(s Setting) bool { return s.Key == key })]
	return s.apply(c, value)
}

// clientVariables are those of the operator's commands, which share the prefix.
var clientVariables = []string{"PICLOUD_URL", "PICLOUD_KEY", "PICLOUD_APP", "PICLOUD_RECOVERY_KEY"}

func loadEnv(c *Config, env []string) []error {
	var faults []error
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "PICLOUD_") || slices.Contains(clientVariables, name) {
			continue
		}
		i := slices.IndexFunc(Settings, func(s Setting) bool { return s.Env == name })
		if i < 0 {
			faults = append(faults, fmt.Errorf("unknown variable %s%s", name, suggest(name, func(s *Setting) string { return s.Env })))
			continue
		}
		c.noteSetting(Settings[i].Key, name)
		if err := Settings[i].set(c, value); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	return faults
}

// suggest finds the name that was probably meant.
func suggest(name string, of func(*Setting) string) string {
	known := make([]string, len(Settings))
	for i := range Settings {
		known[i] = of(&Settings[i])
	}
	if best := check.Nearest(name, known); best != "" {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	return ""
}

// Changed lists the settings in which two configurations differ, told apart by
// whether a reload applies them.
func Changed(a, b Config) (live, restart []string) {
	for i := range Settings {
		s := &Settings[i]
		if s.get(&a) == s.get(&b) {
			continue
		}
		if s.Live && (s.Key != "database.url" || a.HasDatabase() && b.HasDatabase()) { // a copy cannot begin or end while the node runs
			live = append(live, s.Key)
		} else {
			restart = append(restart, s.Key)
		}
	}
	if !reflect.DeepEqual(a.Sensors, b.Sensors) {
		restart = append(restart, strings.TrimSuffix(sensorTable, "."))
	}
	if !slices.Equal(a.Pins, b.Pins) {
		restart = append(restart, "hw."+pinInputs, "hw."+pinOutputs)
	}
	return live, restart
}
