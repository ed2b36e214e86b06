package store_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/picloud/picloud/journal"
	"github.com/picloud/picloud/store"
)

// DM-6: a directory in which a newer picloud has written anything that this one does
// not know is refused, with an error that names the file and says what to do, and not
// a byte, name or time in it changes: nothing is set aside, repaired or swept.
func TestNewerFormatIsRefusedUntouched(t *testing.T) {
	t.Parallel()
	names := fixtureNames(t)
	for name, c := range map[string]struct {
		file   string // that the error names
		change func(t *testing.T, dir string)
	}{
		"node.json": {"node.json", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "node.json"), func(b []byte) []byte {
				return bytes.Replace(b, []byte("{"), fmt.Appendf(nil, `{"format": %d,`, store.FormatVersion+1), 1)
			})
		}},
		"node.json of another shape": {"node.json", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "node.json"), func([]byte) []byte {
				return fmt.Appendf(nil, "{\"format\": %d, \"identity\": [1, 2]}\nsum 123\n", store.FormatVersion+1)
			})
		}},
		"state.db": {"state.db", newerState},
		"state.db beside a ruined node.json": {"state.db", func(t *testing.T, dir string) {
			newerState(t, dir)
			edit(t, filepath.Join(dir, "node.json"), ruin)
		}},
		"row of an unknown table": {"state.db", func(t *testing.T, dir string) {
			name, key := filepath.Join(dir, "state.db"), []byte("\xc8key")
			kept, err := store.SealedRow(name, key, []byte("value"))
			if err != nil {
				t.Fatal(err)
			}
			editBolt(t, name, "rows", key, kept)
		}},
		"cache.db": {"cache.db", func(t *testing.T, dir string) {
			editBolt(t, filepath.Join(dir, "cache.db"), "meta", []byte("format"), []byte{store.FormatVersion + 1})
		}},
		"header of the oldest segment": {"journal/00000000000000000012.log", func(t *testing.T, dir string) { newerHeader(t, segments(t, dir)[0]) }},
		"header of the newest segment": {"journal/00000000000000000109.log", func(t *testing.T, dir string) {
			all := segments(t, dir)
			newerHeader(t, all[len(all)-1])
		}},
		"footer": {"journal/00000000000000000012.log", func(t *testing.T, dir string) {
			edit(t, segments(t, dir)[0], func(b []byte) []byte {
				n := len(b)
				binary.LittleEndian.PutUint32(b[n-4:], 1)
				whole := b[n-int(binary.LittleEndian.Uint32(b[n-16:])):]
				sum := crc32.Checksum(whole[:len(whole)-8], castagnoli)
				binary.LittleEndian.PutUint32(b[n-8:], crc32.Update(sum, castagnoli, b[n-4:]))
				return b
			})
		}},
		"record of an unknown kind":    {"journal/00000000000000000109.log", appends(journal.Record{Kind: 200})},
		"change of an unknown table":   {"journal/00000000000000000109.log", appends(journal.Record{Kind: 2, Body: []byte{200, 1, 1, 'k', 'v'}})},
		"deletion of an unknown table": {"journal/00000000000000000109.log", appends(journal.Record{Kind: 2, Body: []byte{200, 0, 1, 'k'}})},
		"event of an unknown version":  {"journal/00000000000000000109.log", appends(journal.Record{Kind: 1, Key: []byte("shop\x00orders"), Seq: 1 << 40, Body: []byte{77, 1}})},
		"record beside a ruined node.json": {"journal/00000000000000000109.log", func(t *testing.T, dir string) {
			appends(journal.Record{Kind: 200})(t, dir)
			edit(t, filepath.Join(dir, "node.json"), ruin)
		}},
		"record beside a ruined state.db": {"journal/00000000000000000109.log", func(t *testing.T, dir string) {
			appends(journal.Record{Kind: 200})(t, dir)
			edit(t, filepath.Join(dir, "state.db"), ruin)
		}},
		"record behind a ruined header": {"journal/00000000000000000109.log", func(t *testing.T, dir string) {
			all := segments(t, dir)
			appends(journal.Record{Kind: 200})(t, dir)
			edit(t, all[len(all)-1], func(b []byte) []byte { clear(b[:4096]); return b })
		}},
		"record among damaged ones": {"journal/00000000000000000109.log", func(t *testing.T, dir string) {
			all := segments(t, dir)
			appends(journal.Record{Kind: 200})(t, dir)
			edit(t, all[len(all)-1], func(b []byte) []byte { b[4096+60] ^= 1; return b })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			unpackDir(t, filepath.Join(fixtures, names[0], "data.tar.gz"), dir)
			c.change(t, dir)
			old := time.Now().Add(-48 * time.Hour)
			for _, left := range []string{"files/abcdefghijklmnopqrstuvwxyz", "files/x.tmp.1", "journal/spare-1.tmp", "node.json.tmp"} {
				if err := errors.Join(os.WriteFile(filepath.Join(dir, left), []byte("left"), 0o600), os.Chtimes(filepath.Join(dir, left), old, old)); err != nil {
					t.Fatal(err)
				}
			}
			before := tree(t, dir)
			s, err := store.Open(fixtureConfig(dir, newTestClock()))
			if err == nil {
				t.Fatal("it opened", s.Close())
			}
			checkNewer(t, err, c.file)
			_, err = store.NewIdentity(dir)
			checkNewer(t, err, c.file)
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Errorf("the directory has changed (-before +after)\n%s", diff)
			}
		})
	}
}

// A backup that a newer picloud made is refused whatever else it holds, and leaves
// nothing behind.
func TestNewerBackupIsRefused(t *testing.T) {
	t.Parallel()
	names := fixtureNames(t)
	for file, change := range map[string]func(tw *tar.Writer, name string, b []byte) error{
		"manifest.json": func(tw *tar.Writer, name string, b []byte) error {
			if name == "manifest.json" {
				b = bytes.Replace(b, []byte(`"format": 1`), fmt.Appendf(nil, `"format": %d`, store.FormatVersion+1), 1)
			}
			return addFile(tw, name, b)
		},
		"node.json": func(tw *tar.Writer, name string, b []byte) error {
			if name != "node.json" {
				return addFile(tw, name, b)
			}
			b = bytes.Replace(b, []byte("{"), fmt.Appendf(nil, `{"format": %d,`, store.FormatVersion+1), 1)
			return errors.Join(addFile(tw, name, b), addFile(tw, "of-a-new-kind", nil))
		},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			archive := rewrite(t, filepath.Join(fixtures, names[0], "backup.tar.gz"), change)
			dir := t.TempDir()
			_, err := store.Restore(store.Config{Dir: dir}, store.Archived{From: bytes.NewReader(archive)})
			checkNewer(t, err, file)
			_, err = store.VerifyBackup(bytes.NewReader(archive))
			checkNewer(t, err, file)
			if left := tree(t, dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A bit that flips in the first byte of a key makes a row look like one of an unknown
// table; where the order of the keys shows that, it is damage, and the node starts.
func TestDamagedKeyIsNotANewerFormat(t *testing.T) {
	t.Parallel()
	names, dir := fixtureNames(t), t.TempDir()
	unpackDir(t, filepath.Join(fixtures, names[0], "data.tar.gz"), dir)
	edit(t, filepath.Join(dir, "state.db"), func(b []byte) []byte {
		b[bytes.Index(b, []byte("\x0cshop\x00visits"))] ^= 0x80
		return b
	})
	s := start(t, fixtureConfig(dir, newTestClock()))
	if h := s.Health(); !h.Degraded || !strings.Contains(fmt.Sprint(h), "state.db could not be used") {
		t.Errorf("health %+v", h)
	}
}

// A new node says which format its directory has.
func TestFormatIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, store.Config{Dir: dir}).stop(t)
	b, err := os.ReadFile(filepath.Join(dir, "node.json"))
	if err != nil || !bytes.Contains(b, fmt.Appendf(nil, `"format": %d,`, store.FormatVersion)) {
		t.Errorf("node.json is %s, %v", b, err)
	}
}

func checkNewer(t *testing.T, err error, file string) {
	t.Helper()
	newer, ok := errors.AsType[*store.NewerError](err)
	if !ok {
		t.Fatalf("%v is no NewerError", err)
	}
	text := err.Error()
	for _, part := range []string{file, "newer picloud", "install that version"} {
		if newer.File != file || !strings.Contains(text, part) {
			t.Errorf("%q names %s, and should name %s and say %q", text, newer.File, file, part)
		}
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func edit(t *testing.T, name string, change func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func ruin(b []byte) []byte { return bytes.Repeat([]byte{0xa5}, len(b)) }

// editBolt puts a row into a bucket of a file of bbolt.
func editBolt(t *testing.T, name, bucket string, key, value []byte) {
	t.Helper()
	db, err := bbolt.Open(name, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(bucket))
		if err != nil {
			return err
		}
		return b.Put(key, value)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// newerState raises the version in what state.db says of itself: a map in CBOR whose
// first key is 1.
func newerState(t *testing.T, dir string) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, "state.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("meta"))
		meta := slices.Clone(b.Get([]byte("checkpoint")))
		meta[2] = store.FormatVersion + 1
		return errors.Join(b.Put([]byte("checkpoint"), meta), b.Put([]byte("checkpoint sum"), store.MetaSum(meta)))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "journal", "*.log"))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	return files // sorted
}

func newerHeader(t *testing.T, name string) {
	t.Helper()
	edit(t, name, func(b []byte) []byte {
		binary.LittleEndian.PutUint32(b[8:], 99)
		binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
		return b
	})
}

// appends returns a change of a directory: the journal goes on with a record.
func appends(r journal.Record) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		j, _, err := journal.Open(journal.Config{Dir: filepath.Join(dir, "journal"), SegmentSize: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.Append([]journal.Record{r, {Kind: 3}}); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// tree describes every file below a directory but its lock: mode, time, size, sum.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, dir)
		if errors.Is(err, fs.ErrNotExist) { // a node that runs renames
			return nil
		}
		if err != nil || name == "" || name == "/lock" {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		all[name] = info.Mode().String()
		if d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			all[name] = fmt.Sprintf("%v %v %d %x", info.Mode(), info.ModTime(), len(b), sha256.Sum256(b))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// rewrite passes the files of a compressed archive to add, and returns what comes of it.
func rewrite(t *testing.T, name string, add func(tw *tar.Writer, name string, b []byte) error) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	tr, tw := tar.NewReader(zr), tar.NewWriter(zw)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err := errors.Join(err, add(tw, h.Name, b)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func addFile(tw *tar.Writer, name string, b []byte) error {
	err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(b))})
	if err == nil {
		_, err = tw.Write(b)
	}
	return err
}

// A newer directory that has no lock file gets none.
func TestNewerDirectoryGetsNoLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "node.json"), []byte(`{"format":99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var newer *store.NewerError
	if _, err := store.Open(store.Config{Dir: dir}); !errors.As(err, &newer) {
		t.Errorf("opened with %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}
