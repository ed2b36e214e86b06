package store

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud"
)

// DM-9, OP-6: a backup reads what it takes along against its checksum. It names what is
// damaged and has everything else, and restoring it tells of the damage again and serves
// nothing that is wrong.
func TestBackupNamesWhatIsDamaged(t *testing.T) {
	t.Parallel()
	const app = picloud.DefaultApp
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir, blob string)
		named  string
	}{
		"byte of a content": {func(t *testing.T, dir, blob string) { flip(t, filepath.Join(dir, blobsDir, blob), 3) }, `file "photo" of app "default"`},
		"content that was cut": {func(t *testing.T, dir, blob string) {
			if err := os.Truncate(filepath.Join(dir, blobsDir, blob), 2); err != nil {
				t.Fatal(err)
			}
		}, `file "photo" of app "default"`},
		"missing content": {func(t *testing.T, dir, blob string) {
			if err := os.Remove(filepath.Join(dir, blobsDir, blob)); err != nil {
				t.Fatal(err)
			}
		}, `file "photo" of app "default"`},
		"directory in its place": {func(t *testing.T, dir, blob string) {
			path := filepath.Join(dir, blobsDir, blob)
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, `file "photo" of app "default"`},
		"byte of a record": {func(t *testing.T, dir, _ string) {
			flip(t, filepath.Join(dir, "journal", "00000000000000000001.log"), 4096+60)
		}, "the journal: record 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := t.TempDir()
			s, _ := open(t, src)
			for _, path := range []string{"photo", "other"} {
				if _, err := s.PutFile(t.Context(), picloud.FileChange{App: app, Path: path, Size: -1}, strings.NewReader("a "+path)); err != nil {
					t.Fatal(err)
				}
			}
			f, err := s.File(app, "photo")
			if err != nil {
				t.Fatal(err)
			}
			c.damage(t, src, f.Blob)
			var archive bytes.Buffer
			if err := s.Backup(t.Context(), &archive); err != nil {
				t.Fatal(err)
			}
			if notes := s.Health().Notes; len(notes) != 1 || !strings.Contains(notes[0], c.named) {
				t.Errorf("notes %q", notes)
			}
			verified, err := VerifyBackup(bytes.NewReader(archive.Bytes()))
			damaged := verified.Damaged
			if err != nil || len(damaged) != 1 || !strings.Contains(damaged[0], c.named) {
				t.Fatalf("%q, %v", damaged, err)
			}
			dir := filepath.Join(t.TempDir(), "new")
			var told []string
			if _, err := Restore(Config{Dir: dir}, Archived{From: &archive, Damaged: func(what string) { told = append(told, what) }}); err != nil || !slices.Equal(told, damaged) {
				t.Fatalf("told %q, %v", told, err)
			}
			r, _ := open(t, dir)
			_, in, err := r.OpenFile(app, "other")
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(in); string(b) != "a other" || err != nil {
				t.Errorf("%q, %v", b, err)
			}
			_ = in.Close()
			if _, in, err = r.OpenFile(app, "photo"); strings.HasPrefix(c.named, "file") != errors.Is(err, picloud.ErrFileLost) {
				t.Errorf("the damaged one: %v", err)
			}
			if err == nil {
				_ = in.Close()
			}
		})
	}
}

// DM-4, OP-6: a backup says whether it opens the secrets that it holds.
func TestBackupSaysWhetherItOpensSecrets(t *testing.T) {
	t.Parallel()
	for _, credential := range []string{"", "a key that lies elsewhere"} {
		s, _ := openAs(t, Config{Dir: t.TempDir(), ReserveBytes: -1, Credential: []byte(credential)})
		var archive bytes.Buffer
		if err := s.Backup(t.Context(), &archive); err != nil {
			t.Fatal(err)
		}
		if v, err := VerifyBackup(&archive); err != nil || v.OpensSecrets != (credential == "") {
			t.Errorf("credential %q: %+v, %v", credential, v, err)
		}
	}
}

// flip changes one bit of a file.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
