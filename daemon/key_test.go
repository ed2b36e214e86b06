package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/logtest"
)

// DM-6: whatever secrets.key_file names, the start ends, with a word about it.
func TestOddKeyOfSecretsIsRefused(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(path string) error{
		"no regular file": func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"no such file":    func(string) error { return nil },
		"bytes":           func(path string) error { return os.WriteFile(path, []byte("short"), 0o600) },
		"more than the 65536": func(path string) error {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(path, 64<<30)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := daemon.DefaultConfig()
			cfg.Data, cfg.SecretsKey = t.TempDir(), filepath.Join(t.TempDir(), "key")
			if err := put(cfg.SecretsKey); err != nil {
				t.Fatal(err)
			}
			if err := daemon.Run(t.Context(), cfg, daemon.Options{Log: new(logtest.Buffer)}); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%v", err)
			}
		})
	}
}
