package store_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/store"
)

// packed is a file of an archive.
type packed struct {
	name    string
	content []byte
	kind    byte  // 0: an ordinary file
	size    int64 // that it says it has; 0: that of its content
	link    string
	raw     []byte // blocks that stand for all of the above
}

// unpackedBackup returns the files of a good backup, without its manifest.
func unpackedBackup(tb testing.TB) (files []packed) {
	tb.Helper()
	dir := tb.TempDir()
	s, err := store.Open(store.Config{Dir: dir, ReserveBytes: -1, SegmentSize: 64 << 10})
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
	for _, name := range []string{"node.json", "state.db"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			tb.Fatal(err)
		}
		files = append(files, packed{name: name, content: b})
	}
	segments, err := filepath.Glob(filepath.Join(dir, "journal", "*.log"))
	if err != nil || len(segments) == 0 {
		tb.Fatal(segments, err)
	}
	for _, name := range segments {
		b, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		files = append(files, packed{name: "journal/" + filepath.Base(name), content: b})
	}
	return append(files, packed{name: "files/" + blob, content: []byte("abc")})
}

// manifestOf returns the manifest of files.
func manifestOf(tb testing.TB, files []packed) packed {
	tb.Helper()
	sums := map[string]string{}
	for _, f := range files {
		h := sha256.Sum256(f.content)
		sums[f.name] = hex.EncodeToString(h[:])
	}
	b, err := json.Marshal(map[string]any{"format": 1, "node": "n", "created_at": now, "last_lsn": 1, "sha256": sums})
	if err != nil {
		tb.Fatal(err)
	}
	return packed{name: "manifest.json", content: b}
}

func tarOf(tb testing.TB, files []packed) []byte {
	tb.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, f := range files {
		if f.raw != nil {
			b.Write(f.raw)
			continue
		}
		h := tar.Header{Typeflag: f.kind, Name: f.name, Linkname: f.link, Mode: 0o600, Size: int64(len(f.content)), ModTime: now, Format: tar.FormatPAX}
		if f.size != 0 {
			h.Size = f.size
		}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := tw.WriteHeader(&h); err != nil {
			tb.Fatal(f.name, err)
		}
		if f.size != 0 { // cut off there
			return b.Bytes()
		}
		if _, err := tw.Write(f.content); err != nil {
			tb.Fatal(f.name, err)
		}
		if err := tw.Flush(); err != nil {
			tb.Fatal(f.name, err)
		}
	}
	if err := tw.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func zipped(tb testing.TB, parts ...[]byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	for _, p := range parts {
		if _, err := zw.Write(p); err != nil {
			tb.Fatal(err)
		}
	}
	if err := zw.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// rawBlocks is a header of tar, made by hand, and what follows it.
func rawBlocks(name string, kind byte, content string) []byte {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000600\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x0000000000000\x00        ", len(content)))
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	total := 0
	for _, c := range h {
		total += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", total))
	h = append(h, content...)
	return append(h, make([]byte, -len(h)&511)...)
}

// holes is a file with a hole of a tebibyte, which takes no room in the archive.
func holes(name string) []byte {
	records := ""
	for _, r := range [][2]string{{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.name", name}, {"GNU.sparse.realsize", fmt.Sprint(int64(1 << 40))}} {
		n := len(r[0]) + len(r[1]) + 3
		for n != len(fmt.Sprint(n))+len(r[0])+len(r[1])+3 {
			n = len(fmt.Sprint(n)) + len(r[0]) + len(r[1]) + 3
		}
		records += fmt.Sprintf("%d %s=%s\n", n, r[0], r[1])
	}
	sparseMap := fmt.Sprintf("1\n%d\n0\n", int64(1<<40))
	return append(rawBlocks("x", 'x', records), rawBlocks(name, '0', sparseMap+strings.Repeat("\x00", 512-len(sparseMap)))...)
}

// SR-6, DM-7: an archive that is not one that Backup makes is refused, before it
// fills the disk or the memory, and leaves nothing behind and nothing elsewhere.
func TestHostileArchiveIsRefusedWhole(t *testing.T) {
	t.Parallel()
	good := unpackedBackup(t)
	whole := append(slices.Clone(good), manifestOf(t, good))
	if _, err := store.Restore(store.Config{Dir: filepath.Join(t.TempDir(), "d")}, store.Archived{From: bytes.NewReader(zipped(t, tarOf(t, whole)))}); err != nil {
		t.Fatalf("the archive that is to be spoilt: %v", err)
	}
	// with puts files between the good ones and the manifest, which knows them.
	with := func(more ...packed) []byte {
		files := append(slices.Clone(good), more...)
		return zipped(t, tarOf(t, append(files, manifestOf(t, files))))
	}
	named := func(name string) []byte { return with(packed{name: name, content: []byte("x")}) }
	other := "files/" + strings.Repeat("a", 26)
	cases := map[string][]byte{
		"nothing":                {},
		"no archive":             []byte("picloud"),
		"an empty one":           zipped(t),
		"a link":                 with(packed{name: other, kind: tar.TypeSymlink, link: "/etc/shadow"}),
		"a hard link":            with(packed{name: other, kind: tar.TypeLink, link: "node.json"}),
		"a pipe":                 with(packed{name: other, kind: tar.TypeFifo}),
		"a device":               with(packed{name: other, kind: tar.TypeBlock}),
		"a terminal":             with(packed{name: other, kind: tar.TypeChar}),
		"a directory":            with(packed{name: "files", kind: tar.TypeDir}),
		"holes":                  zipped(t, tarOf(t, append(slices.Clone(good), packed{raw: holes(other)}, manifestOf(t, good)))),
		"holes of old":           zipped(t, tarOf(t, append(slices.Clone(good), packed{raw: rawBlocks(other, 'S', "")}, manifestOf(t, good)))),
		"a file twice":           with(good[1]),
		"behind the manifest":    zipped(t, tarOf(t, append(slices.Clone(whole), packed{name: other}))),
		"two manifests":          zipped(t, tarOf(t, append(slices.Clone(whole), whole[len(whole)-1]))),
		"no manifest":            zipped(t, tarOf(t, good)),
		"a manifest with less":   zipped(t, tarOf(t, append(slices.Clone(good), manifestOf(t, good[:3])))),
		"a manifest with more":   zipped(t, tarOf(t, append(slices.Clone(good), manifestOf(t, append(slices.Clone(good), packed{name: other}))))),
		"a manifest that is one": zipped(t, tarOf(t, append(slices.Clone(good), packed{name: "manifest.json", content: []byte(`{"sha256":[]}`)}))),
		"a manifest that ends":   zipped(t, tarOf(t, append(slices.Clone(good), packed{name: "manifest.json", content: []byte(`{"sha256":{`)}))),
		"no state":               zipped(t, tarOf(t, []packed{good[0], manifestOf(t, good[:1])})),
		"the identity later":     zipped(t, tarOf(t, append([]packed{good[1], good[0]}, whole[2:]...))),
		"a large identity":       zipped(t, tarOf(t, append([]packed{{name: "node.json", content: append(slices.Clone(good[0].content), bytes.Repeat([]byte(" "), 2<<20)...)}}, whole[1:]...))),
		"no identity in it":      zipped(t, tarOf(t, append([]packed{{name: "node.json", content: []byte("{}")}}, whole[1:]...))),
		"more than the disk has": zipped(t, tarOf(t, append(slices.Clone(good), packed{name: other, size: 1 << 50}))),
		"a large manifest":       zipped(t, tarOf(t, append(slices.Clone(good), packed{name: "manifest.json", size: 1 << 30}))),
		"zeros behind":           zipped(t, tarOf(t, whole), make([]byte, 64<<20)),
		"another stream behind":  append(zipped(t, tarOf(t, whole)), zipped(t, []byte("x"))...),
		"bytes behind":           append(zipped(t, tarOf(t, whole)), 'x'),
	}
	for _, name := range []string{"../x", "/etc/x", "files/../../x", "files/..", "journal/../x", "journal/a/b", "./state.db", "files/" + strings.Repeat("A", 26), "files/" + blob + ".tmp.1", "damaged/x", "cache.db", "lock", ""} {
		cases["the name "+name] = named(name)
	}
	for name, b := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			above := t.TempDir()
			dir := filepath.Join(above, "data")
			if _, err := store.Restore(store.Config{Dir: dir}, store.Archived{From: bytes.NewReader(b)}); err == nil {
				t.Fatal("it was restored")
			}
			for _, d := range []string{dir, above} {
				left, err := os.ReadDir(d)
				if err != nil || len(left) != 1 || left[0].Name() != "lock" && left[0].Name() != "data" {
					t.Errorf("left behind: %v, %v", left, err)
				}
			}
			if name != "more than the disk has" && name != "no identity in it" {
				if _, err := store.VerifyBackup(bytes.NewReader(b)); err == nil {
					t.Error("it passes for a backup")
				}
			}
			if _, err := store.Restore(store.Config{Dir: dir}, store.Archived{From: bytes.NewReader(zipped(t, tarOf(t, whole)))}); err != nil {
				t.Errorf("the next try: %v", err)
			}
		})
	}
}

// OP-6: a node with very many files has a backup that can be restored.
func TestBackupOfManyFiles(t *testing.T) {
	t.Parallel()
	files := unpackedBackup(t)
	name := []byte(strings.Repeat("a", 26))
	for i := range 20_000 {
		for at, n := 0, i; n > 0; at, n = at+1, n/26 {
			name[at] = byte('a' + n%26)
		}
		files = append(files, packed{name: "files/" + string(name)})
	}
	seen := map[string]bool{}
	files = slices.DeleteFunc(files, func(f packed) bool {
		twice := seen[f.name]
		seen[f.name] = true
		return twice
	})
	m := manifestOf(t, files)
	if len(m.content) < 1<<20 || len(files) < 10_000 {
		t.Fatalf("%d files, a manifest of %d bytes", len(files), len(m.content))
	}
	if _, err := store.VerifyBackup(bytes.NewReader(zipped(t, tarOf(t, append(files, m))))); err != nil {
		t.Error(err)
	}
}

// DM-7: a restore that is cut off before all is there is not there: the node refuses to
// start and says what to do, which works. Cut off later, it is there whole.
func TestRestoreIsWholeOrNotThere(t *testing.T) {
	t.Parallel()
	files := unpackedBackup(t)
	b := zipped(t, tarOf(t, append(files, manifestOf(t, files))))
	names := []string{"journal", "files", "state.db", "node.json.copy", "node.json"}
	for moved := range len(names) + 1 {
		for _, marked := range []bool{true, false} {
			if !marked && moved > 0 && moved < len(names) {
				continue // files are moved when all is there, and not before
			}
			t.Run(fmt.Sprintf("%d moved, marked %v", moved, marked), func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "data")
				if _, err := store.Restore(store.Config{Dir: dir}, store.Archived{From: bytes.NewReader(b)}); err != nil {
					t.Fatal(err)
				}
				want := tree(t, dir)
				tmp := filepath.Join(dir, ".restoring")
				if err := os.Mkdir(tmp, 0o700); err != nil {
					t.Fatal(err)
				}
				for _, name := range names[moved:] {
					if err := os.Rename(filepath.Join(dir, name), filepath.Join(tmp, name)); err != nil {
						t.Fatal(err)
					}
				}
				if marked {
					if err := os.WriteFile(filepath.Join(tmp, "whole"), nil, 0o600); err != nil {
						t.Fatal(err)
					}
				} else if moved == 0 {
					if err := os.Remove(filepath.Join(tmp, "node.json")); err != nil {
						t.Fatal(err)
					}
				}
				if !marked && moved == 0 {
					before := tree(t, dir)
					_, err := store.Open(store.Config{Dir: dir, ReserveBytes: -1})
					var unfinished *store.UnfinishedError
					if !errors.As(err, &unfinished) || !strings.Contains(err.Error(), "picloud restore") {
						t.Fatalf("the start: %v", err)
					}
					if _, err := store.TakeOver(dir); !errors.As(err, &unfinished) {
						t.Errorf("taking over: %v", err)
					}
					if after := tree(t, dir); !slices.Equal(keys(before), keys(after)) {
						t.Errorf("there is %v, before there was %v", keys(after), keys(before))
					}
					if _, err := store.Restore(store.Config{Dir: dir}, store.Archived{From: bytes.NewReader(b)}); err != nil {
						t.Fatal(err)
					}
				}
				s := start(t, store.Config{Dir: dir})
				if h := s.Health(); h.Degraded {
					t.Errorf("health %+v", h)
				}
				after := tree(t, dir)
				for name := range want {
					if _, ok := after[name]; !ok {
						t.Errorf("%s is missing", name)
					}
				}
				if _, err := os.Stat(tmp); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s: %v", tmp, err)
				}
			})
		}
	}
}

func keys[V any](m map[string]V) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// SR-6: whatever is taken for an archive ends in a node that starts, or in an error that
// leaves nothing behind.
func FuzzRestore(f *testing.F) {
	node := `{"format":1,"id":"n","epoch":"00c3a91e42"}`
	small := []packed{{name: "node.json", content: []byte(node)}, {name: "state.db"}, {name: "files/" + blob, content: []byte("abc")}} // large ones take long to change
	f.Add(tarOf(f, append(small, manifestOf(f, small))))
	f.Add(tarOf(f, append(slices.Clone(small), packed{raw: holes("files/" + blob)})))
	f.Add(append(rawBlocks("node.json", '0', "{}"), rawBlocks("manifest.json", '0', `{"sha256":{"node.json":""}}`)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		archive := zipped(t, b)
		if _, err := store.Restore(store.Config{Dir: dir}, store.Archived{From: bytes.NewReader(archive)}); err != nil {
			if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
				t.Fatalf("left behind: %v, %v", left, err)
			}
			return
		}
		if _, err := store.VerifyBackup(bytes.NewReader(archive)); err != nil {
			t.Fatalf("it was restored, and is no backup: %v", err)
		}
		s, err := store.Open(store.Config{Dir: dir, ReserveBytes: -1, SegmentSize: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
