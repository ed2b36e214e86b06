package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// oldState unpacks the fixture of format 2, whose rows have no checksums.
func oldState(t *testing.T) store.Config {
	t.Helper()
	dir := t.TempDir()
	unpackDir(t, filepath.Join(fixtures, "002", "data.tar.gz"), dir)
	return fixtureConfig(dir, newTestClock())
}

// DM-3, DM-6: the first start of this format gives the rows of an older state.db
// checksums, also when one before it was cut off while it did.
func TestOldStateGetsChecksums(t *testing.T) {
	t.Parallel()
	cfg := oldState(t)
	temp := filepath.Join(cfg.Dir, "state.db.tmp")
	if err := os.WriteFile(temp, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if version, sealed := stateFormat(t, cfg.Dir); version != 2 || sealed {
		t.Fatalf("the fixture has version %d, checksums %t", version, sealed)
	}
	s := start(t, cfg)
	if e, err := s.Entry("shop", "visits"); err != nil || string(e.Value) != "41" || s.Health().Degraded {
		t.Errorf("%+v, %v, %v", e, err, s.Health())
	}
	s.stop(t)
	if version, sealed := stateFormat(t, cfg.Dir); version != store.FormatVersion || !sealed {
		t.Errorf("version %d, checksums %t", version, sealed)
	}
	if _, err := os.Stat(temp); err == nil {
		t.Error("the half file is left")
	}
}

// DM-6: where there is no space for a second state.db, the old one is used as it is, and
// gets its checksums when there is.
func TestOldStateIsUsedWithoutSpace(t *testing.T) {
	t.Parallel()
	cfg := oldState(t)
	full := cfg
	full.ReserveBytes = 1 << 60
	for range 2 {
		s := start(t, full)
		if e, err := s.Entry("shop", "visits"); err != nil || string(e.Value) != "41" {
			t.Errorf("%+v, %v", e, err)
		}
		if err := s.DeleteEntry(t.Context(), picloud.Deletion{App: "shop", Name: "open"}); err != nil && !errors.Is(err, picloud.ErrKVNotFound) {
			t.Error(err)
		}
		s.stop(t)
		if version, sealed := stateFormat(t, cfg.Dir); version != 2 || sealed {
			t.Errorf("version %d, checksums %t", version, sealed)
		}
	}
	s := start(t, cfg)
	if e, err := s.Entry("shop", "visits"); err != nil || string(e.Value) != "41" {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := s.Entry("shop", "open"); err == nil {
		t.Error("what was deleted is there")
	}
	s.stop(t)
	if version, sealed := stateFormat(t, cfg.Dir); version != store.FormatVersion || !sealed {
		t.Errorf("version %d, checksums %t", version, sealed)
	}
}

// stateFormat returns the version of a state.db and whether a row of it has a checksum.
func stateFormat(t *testing.T, dir string) (version byte, sealed bool) {
	t.Helper()
	name := filepath.Join(dir, "state.db")
	inBolt(t, name, func(tx *bbolt.Tx) error {
		version = tx.Bucket([]byte("meta")).Get([]byte("checkpoint"))[2]
		return nil
	})
	var kept []byte
	key := []byte("\x0cshop\x00visits")
	inBolt(t, name, func(tx *bbolt.Tx) error {
		kept = bytes.Clone(tx.Bucket([]byte("rows")).Get(key))
		return nil
	})
	if len(kept) < 4 {
		t.Fatalf("the row is %q", kept)
	}
	want, err := store.SealedRow(name, key, kept[:len(kept)-4])
	return version, err == nil && bytes.Equal(want, kept)
}

func inBolt(t *testing.T, name string, fn func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(name, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// DM-3: a row that is missing, and one that is as it was once, are noticed, though each row
// that is there is whole.
func TestRowsThatAreNotThoseOfTheCheckpointAreTold(t *testing.T) {
	t.Parallel()
	m := mixedLoad(t, false)
	key := []byte("\x0cshop\x00k033") // written twice
	var old []byte
	earlier := filepath.Join(t.TempDir(), "earlier.db")
	if err := os.WriteFile(earlier, m.earlier, 0o600); err != nil {
		t.Fatal(err)
	}
	inBolt(t, earlier, func(tx *bbolt.Tx) error {
		old = bytes.Clone(tx.Bucket([]byte("rows")).Get(key))
		return nil
	})
	for name, change := range map[string]struct {
		do   func(b *bbolt.Bucket) error
		told string
	}{
		"missing": {func(b *bbolt.Bucket) error { return b.Delete(key) }, "1 of 156 rows of key-value pairs are missing"},
		"older":   {func(b *bbolt.Bucket) error { return b.Put(key, old) }, "rows of key-value pairs are others or older ones"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := m.cfg
			cfg.Dir = copyDir(t, m.cfg.Dir)
			inBolt(t, filepath.Join(cfg.Dir, "state.db"), func(tx *bbolt.Tx) error { return change.do(tx.Bucket([]byte("rows"))) })
			s := start(t, cfg)
			if notes := fmt.Sprint(s.Health().Notes); !strings.Contains(notes, change.told) {
				t.Errorf("told is %s", notes)
			}
		})
	}
}

// DM-3: what becomes illegible while a node runs is not served, does not end the process,
// and is told. The next checkpoint and start get along with it.
func TestRowThatIsDamagedWhileTheNodeRuns(t *testing.T) {
	t.Parallel()
	m := mixedLoad(t, false)
	name := filepath.Join(m.cfg.Dir, "state.db")
	s := start(t, m.cfg)
	for key, do := range map[string]func(b []byte, at int){
		"k101": func(b []byte, at int) { b[at+30] ^= 1 },
		"k108": func(b []byte, at int) { // the size of its value
			for e := at - 16; e > at-20_000; e -= 8 { // its element is before it: position, size of the key, of the value
				if binary.LittleEndian.Uint32(b[e+4:]) == uint32(at-e) && binary.LittleEndian.Uint32(b[e+8:]) == uint32(len("\x0cshop\x00k108")) { // #nosec G115 -- small
					b[e+15] = 0x7f
					return
				}
			}
		},
	} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for from, found := 0, false; !found; {
			i := bytes.Index(b[from:], []byte("\x0cshop\x00"+key))
			if i < 0 {
				t.Fatalf("%s is on no page that is in use", key)
			}
			before, at := bytes.Clone(b), from+i
			do(b, at)
			writeAll(t, name, b)
			if _, err := s.Entry("shop", key); err != nil {
				found = true
			} else {
				writeAll(t, name, before)
				b, from = before, at+1
			}
		}
		if _, err := s.Entry("shop", key); !errors.Is(err, picloud.ErrKVNotFound) {
			t.Errorf("%s: %v", key, err)
		}
	}
	notes := fmt.Sprint(s.Health().Notes)
	if !strings.Contains(notes, `"k101" of app "shop", in state.db cannot be read`) {
		t.Error(notes)
	}
	page, err := s.Entries(picloud.EntryList{App: "shop", Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Entries {
		if want := m.want["entry "+e.Key]; string(e.Value) != want {
			t.Errorf("%s is %.30q", e.Key, e.Value)
		}
	}
}

// writeAll writes a file in place, so that those who have mapped it see it.
func writeAll(t *testing.T, name string, b []byte) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.Write(b)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// DM-3, DM-7: a backup of a damaged state.db is refused when it is made.
func TestDamagedStateIsNoBackup(t *testing.T) {
	t.Parallel()
	m := mixedLoad(t, false)
	s := start(t, m.cfg)
	name := filepath.Join(m.cfg.Dir, "state.db")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b { // each copy of a value, so that the newest is among them
		if bytes.HasPrefix(b[i:], []byte("k101#")) {
			b[i+10] ^= 1
		}
	}
	writeAll(t, name, b)
	if err := s.Backup(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "state.db is damaged") {
		t.Errorf("backed up with %v", err)
	}
}

// DM-3: cache.db cut short, emptied, or with any bit flipped neither stops a start nor ends
// the process.
func TestDamagedCacheIsBegunAnew(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir()}
	s := start(t, cfg)
	if err := s.Book(nil); err != nil {
		t.Fatal(err)
	}
	s.stop(t)
	name := filepath.Join(cfg.Dir, "cache.db")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var ways [][]byte
	for _, size := range []int{1, 4096, 8192, 9000, 3 * 4096} {
		ways = append(ways, good[:size])
	}
	for at := 0; at < min(len(good), 6*4096); at += 97 {
		b := bytes.Clone(good)
		b[at] ^= 1 << (at % 8)
		ways = append(ways, b)
	}
	for i, b := range ways {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(cfg)
		if err != nil {
			if newer := (*store.NewerError)(nil); !errors.As(err, &newer) { // the format itself has no checksum
				t.Fatalf("way %d: %v", i, err)
			}
			continue
		}
		if _, err := s.Booked(); err != nil {
			t.Errorf("way %d: %v", i, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("way %d: %v", i, err)
		}
	}
}
