package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/picloud/picloud"
)

// DM-4: whatever bit of node.json or of its copy flips, the node stays who it is, or, where
// the bit makes the file look like a newer one, does not start.
func TestFlippedBitOfTheIdentityIsNoticed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := newIdentity(time.Now())
	want.renewEpoch()
	if err := want.write(dir); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, identityFile))
	if err != nil {
		t.Fatal(err)
	}
	content := len(bytes.TrimSpace(good))
	ignore := []cmp.Option{cmp.AllowUnexported(identity{}), cmpopts.IgnoreFields(identity{}, "Sum")}
	noticed := 0
	for _, name := range []string{identityFile, identityCopy} {
		path := filepath.Join(dir, name)
		for bit := range content * 8 {
			b := bytes.Clone(good)
			b[bit/8] ^= 1 << (bit % 8)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			id, faults, err := readIdentities(dir)
			if isNewer(err) {
				continue
			}
			if diff := cmp.Diff(want, id, ignore...); diff != "" || err != nil {
				t.Fatalf("bit %d of %s: %v, %s", bit, name, err, diff)
			}
			if faults.file != nil || faults.spare != nil {
				noticed++
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if noticed < content*12 {
		t.Errorf("%d of %d flipped bits were noticed", noticed, content*16)
	}
}

// DM-4, DM-6: damage to one of the two files costs nothing and is told; damage to both is
// told, and the id comes from the state, or from the journal. A file that was not read is
// not damaged: the start is refused and says what to do. Nothing hangs, and nothing reads a
// file of any size.
func TestDamagedIdentity(t *testing.T) {
	t.Parallel()
	both := func(fn func(path string) error) func(dir string) error {
		return func(dir string) error {
			return errors.Join(fn(filepath.Join(dir, identityFile)), fn(filepath.Join(dir, identityCopy)))
		}
	}
	one := func(fn func(path string) error) func(dir string) error {
		return func(dir string) error { return fn(filepath.Join(dir, identityFile)) }
	}
	spare := func(fn func(path string) error) func(dir string) error {
		return func(dir string) error { return fn(filepath.Join(dir, identityCopy)) }
	}
	spoil := func(path string) error { return os.WriteFile(path, []byte("{}"), 0o600) }
	pipe := func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) }
	folder := func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }
	huge := func(path string) error { return os.Truncate(path, 64<<30) }
	link := func(path string) error { return errors.Join(os.Remove(path), os.Symlink("/nowhere/at/all", path)) }
	loop := func(path string) error { return errors.Join(os.Remove(path), os.Symlink(path, path)) }
	stateless := func(fn func(dir string) error) func(dir string) error {
		return func(dir string) error { return errors.Join(fn(dir), os.Remove(filepath.Join(dir, stateFile))) }
	}
	for name, c := range map[string]struct {
		damage  func(dir string) error
		same    bool   // the recovery key, and the epoch
		refused string // what the error says
		told    string
	}{
		"nothing":               {damage: func(string) error { return nil }, same: true},
		"node.json spoilt":      {damage: one(spoil), same: true, told: "node.json could not be used"},
		"the copy spoilt":       {damage: spare(spoil), same: true, told: "node.json.copy could not be used"},
		"node.json gone":        {damage: one(os.Remove), same: true, told: "was missing"},
		"no copy yet":           {damage: spare(os.Remove), same: true},
		"a pipe":                {damage: one(pipe), same: true, told: "no regular file"},
		"a pipe for the copy":   {damage: spare(pipe), same: true, told: "no regular file"},
		"a directory":           {damage: one(folder), same: true, told: "no regular file"},
		"64 GiB":                {damage: one(huge), same: true, told: "68719476736 bytes"},
		"a link to nothing":     {damage: one(link), refused: "mount or make what it links to"},
		"a link to itself":      {damage: one(loop), refused: "cannot be read"},
		"both gone":             {damage: both(os.Remove), told: "were missing"},
		"both spoilt":           {damage: both(spoil), told: "goes on as"},
		"both spoilt, no state": {damage: stateless(both(spoil)), told: "goes on as"},
		"both pipes":            {damage: both(pipe), told: "goes on as"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s, stop := open(t, dir)
			before := s.ident
			stop()
			if err := c.damage(dir); err != nil {
				t.Fatal(err)
			}
			files, _ := os.ReadDir(dir)
			if c.refused != "" {
				_, err := Open(Config{Dir: dir, ReserveBytes: -1})
				if err == nil || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "nothing was changed") {
					t.Fatalf("%v; want one that says %s", err, c.refused)
				}
				if after, _ := os.ReadDir(dir); len(after) != len(files) {
					t.Errorf("there is %v, before there was %v", after, files)
				}
				return
			}
			s, _ = open(t, dir)
			notes := strings.Join(s.Health().Notes, "\n")
			if same := s.ident.Epoch == before.Epoch && bytes.Equal(s.ident.RecoveryKey, before.RecoveryKey); same != c.same || s.ident.ID != before.ID {
				t.Errorf("it is %+v, before it was %+v", s.ident, before)
			}
			if (notes == "") != (c.told == "") || !strings.Contains(notes, c.told) {
				t.Errorf("told: %s", notes)
			}
			id, faults, err := readIdentities(dir)
			if err != nil || faults != (identityFaults{}) || id.ID != before.ID {
				t.Errorf("it is written as %+v, %+v, %v", id, faults, err)
			}
		})
	}
}

// DM-4: secrets that cannot be opened are told of.
func TestUnreadableSecretsAreTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, stop := open(t, dir)
	if _, err := s.SetSecret(t.Context(), picloud.DefaultApp, "mail", []byte("value")); err != nil {
		t.Fatal(err)
	}
	stop()
	s, stop = open(t, dir)
	if h := s.Health(); h.Degraded {
		t.Errorf("health %+v", h)
	}
	stop()
	s, _ = openAs(t, Config{Dir: dir, ReserveBytes: -1, Credential: []byte("another credential")})
	if notes := strings.Join(s.Health().Notes, "\n"); !strings.Contains(notes, `1 secret cannot be opened, such as "mail" of app "default"`) {
		t.Errorf("told: %s", notes)
	}
}
