package store_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// SE-1: secrets are on the disk encrypted alone, come back with the right key, and
// with no other.
func TestSecretsAreSealed(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir(), Credential: []byte("0123456789abcdef")}
	s := start(t, cfg)
	const value = "a-very-secret-value-that-nobody-writes"
	for _, name := range []string{"mail", "other"} {
		if _, err := s.SetSecret(t.Context(), "default", name, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.SetSecret(t.Context(), "default", "mail", nil); !errors.Is(err, picloud.ErrSecretInvalid) {
		t.Errorf("an empty secret: %v", err)
	}
	list, err := s.Secrets("default")
	if err != nil || len(list) != 2 || bytes.Equal(list[0].Sealed, list[1].Sealed) {
		t.Errorf("secrets %+v, %v", list, err)
	}
	s.stop(t)
	err = filepath.WalkDir(cfg.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(value)) {
			t.Errorf("%s has the secret in the clear", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s = start(t, cfg)
	if got, err := s.Secret("default", "mail"); err != nil || got != value {
		t.Errorf("the secret is %q, %v", got, err)
	}
	if err := s.DeleteSecret(t.Context(), "default", "other"); err != nil {
		t.Error(err)
	}
	if _, err := s.Secret("default", "other"); !errors.Is(err, picloud.ErrSecretNotFound) {
		t.Errorf("a deleted secret: %v", err)
	}
	s.stop(t)
	cfg.Credential = []byte("another-credential")
	s = start(t, cfg)
	if got, err := s.Secret("default", "mail"); !errors.Is(err, picloud.ErrSecretUnreadable) {
		t.Errorf("with another credential the secret is %q, %v", got, err)
	}
}
