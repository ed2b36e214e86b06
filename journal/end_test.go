package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/journal"
	"github.com/picloud/picloud/journal/journaltest"
)

const endFile = dir + "/end"

// goOn does what a node does at its start: it skips what may have been given.
func goOn(t *testing.T, j *journal.Journal, rec journal.Recovery) {
	t.Helper()
	upTo := rec.Last
	switch rec.End {
	case journal.EndProven:
		return
	case journal.EndOpen:
		upTo = rec.Reserved
	case journal.EndUnknown, journal.EndUnnoted:
		upTo += journal.ReserveAhead
	}
	if err := j.Skip(upTo); err != nil {
		t.Fatal(err)
	}
}

// inUse returns how many bytes of a segment records take, as zeros tell, without its
// last bytes.
func inUse(b []byte) int { return len(bytes.TrimRight(b[:len(b)-48], "\x00")) }

// DM-1, DM-2: whatever happened to the tail, a journal opens, tells what can be known
// to be missing, and gives no LSN again.
func TestNoLSNIsGivenTwice(t *testing.T) {
	t.Parallel()
	newest := func(fs *journaltest.FS) string {
		names, _ := fs.List(dir)
		last := ""
		for _, name := range names {
			if strings.HasSuffix(name, ".log") {
				last = max(last, name)
			}
		}
		return dir + "/" + last
	}
	change := func(name string, fn func(b []byte) []byte) func(*testing.T, *journaltest.FS) {
		return func(_ *testing.T, fs *journaltest.FS) {
			file := name
			if file == "" {
				file = newest(fs)
			}
			fs.WriteFile(file, fn(fs.ReadFile(file)))
		}
	}
	remove := func(t *testing.T, fs *journaltest.FS, name string) {
		t.Helper()
		if err := fs.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	tail := func(fill byte) func(b []byte) []byte {
		return func(b []byte) []byte {
			n := inUse(b)
			for i := (n - 1) &^ 4095; i < n; i++ {
				b[i] = fill
			}
			return b
		}
	}
	var earlier []byte // the file end as it was closed with fewer records
	cases := []struct {
		name         string
		damage       func(t *testing.T, fs *journaltest.FS)
		killed, shut bool // whether it is told when the process was killed, and when it was closed
	}{
		{"nothing", func(*testing.T, *journaltest.FS) {}, false, false},
		{"the last page is zeros", change("", tail(0)), false, true},
		{"the last page is ones", change("", tail(0xff)), false, true},
		{"all but one record is zeros", change("", func(b []byte) []byte { clear(b[dataStart+1000 : len(b)-48]); return b }), true, true},
		{"all records are zeros", change("", func(b []byte) []byte { clear(b[dataStart : len(b)-48]); return b }), true, true},
		{"cut in its records", change("", func(b []byte) []byte { return b[:(inUse(b)-1)&^4095] }), true, true},
		{"cut behind its records", change("", func(b []byte) []byte { return b[:inUse(b)] }), true, false},
		{"newest file empty", change("", func([]byte) []byte { return nil }), true, true},
		{"newest file zeros", change("", func(b []byte) []byte { return make([]byte, len(b)) }), true, true},
		{"newest file ones", change("", func(b []byte) []byte { return bytes.Repeat([]byte{0xff}, len(b)) }), true, true},
		{"newest file missing", func(t *testing.T, fs *journaltest.FS) { t.Helper(); remove(t, fs, newest(fs)) }, true, true},
		{"two newest files missing", func(t *testing.T, fs *journaltest.FS) {
			t.Helper()
			remove(t, fs, newest(fs))
			remove(t, fs, newest(fs))
		}, true, true},
		{"all files missing", func(t *testing.T, fs *journaltest.FS) {
			t.Helper()
			for newest(fs) != dir+"/" {
				remove(t, fs, newest(fs))
			}
		}, false, false}, // it is a new journal, which the caller tells
		{"end missing", func(t *testing.T, fs *journaltest.FS) { t.Helper(); remove(t, fs, endFile) }, true, true},
		{"end empty", change(endFile, func([]byte) []byte { return nil }), true, true},
		{"end zeros", change(endFile, func(b []byte) []byte { return make([]byte, len(b)) }), true, true},
		{"a slot of end damaged", change(endFile, func(b []byte) []byte { b[4096+20] ^= 1; return b }), false, false},
		{"the other slot of end damaged", change(endFile, func(b []byte) []byte { b[20] ^= 1; return b }), false, false},
		{"end of an earlier time", func(_ *testing.T, fs *journaltest.FS) { fs.WriteFile(endFile, earlier) }, true, true},
		{"a stray file with a name beyond", func(_ *testing.T, fs *journaltest.FS) {
			fs.WriteFile(path(1<<40), make([]byte, segmentBytes))
		}, true, true},
		{"a stray file with the greatest name", func(_ *testing.T, fs *journaltest.FS) {
			fs.WriteFile(dir+"/18446744073709551615.log", make([]byte, segmentBytes))
		}, true, true},
	}
	const newestLSN = 248 // many pages into a segment, and the one before has its footer
	fs, _ := several(t)
	earlier = fs.ReadFile(endFile)
	j, rec := open(t, fs)
	if rec.End != journal.EndProven || len(rec.Damage) > 0 {
		t.Fatalf("a journal that was closed: %+v", rec)
	}
	grow(t, j, newestLSN)
	killed := fs.Clone()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		for name, fs := range map[string]*journaltest.FS{"killed": killed.Clone(), "closed": fs.Clone()} {
			t.Run(c.name+", "+name, func(t *testing.T) {
				t.Parallel()
				c.damage(t, fs)
				j, rec := open(t, fs)
				told := c.killed
				if name == "closed" {
					told = c.shut
				}
				if (len(rec.Damage) > 0) != told {
					t.Errorf("damage %+v, want it told: %v", rec.Damage, told)
				}
				if rec.Fresh != (c.name == "all files missing") {
					t.Errorf("fresh: %v", rec.Fresh)
				}
				if rec.Fresh {
					rec.End = journal.EndOpen // the caller knows that there was a journal
				}
				goOn(t, j, rec)
				first, err := j.Append([]journal.Record{{Kind: 1, Body: []byte("new")}})
				if err != nil {
					t.Fatal(err)
				}
				if first <= newestLSN {
					t.Errorf("LSN %d is given again", first)
				}
				if name == "closed" && c.name == "nothing" && first != newestLSN+1 {
					t.Errorf("LSN %d after a journal that was closed, want %d", first, newestLSN+1)
				}
				if err := j.Sync(); err != nil {
					t.Fatal(err)
				}
				again, rec := open(t, fs.Kill())
				if len(rec.Damage) > 0 || rec.Last != first {
					t.Errorf("the next start finds %+v, want record %d and nothing more", rec, first)
				}
				got := read(t, again, again.Segments()[0].Base)
				if string(got[len(got)-1].Body) != "new" {
					t.Errorf("the newest record is %+v", got[len(got)-1])
				}
			})
		}
	}
}

// DM-1: the file end is written before the first LSN that it reserves is given, over
// power cuts at every write of it.
func TestReservationSurvivesPowerCuts(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	fs := journaltest.New()
	given := journal.LSN(0)
	for round := range 200 {
		j, rec := open(t, fs)
		if len(rec.Damage) > 0 || rec.End == journal.EndUnknown {
			t.Fatalf("round %d: %+v", round, rec)
		}
		stop := rng.IntN(9)
		fs.SetFault(func(op, name string) error {
			if op == "sync" && filepath.Base(name) == "end" {
				if stop--; stop < 0 {
					return unix.EIO
				}
			}
			return nil
		})
		var err error
		if rec.End != journal.EndProven {
			err = j.Skip(rec.Reserved)
		}
		for range rng.IntN(4) {
			if err != nil {
				break
			}
			var first journal.LSN
			first, err = j.Append([]journal.Record{{Kind: 1, Body: []byte("x")}})
			if err == nil && first <= given {
				t.Fatalf("round %d: LSN %d is given again", round, first)
			}
			given = max(given, first)
		}
		if rng.IntN(3) == 0 {
			_ = j.Close() // may be what fails
		}
		fs.SetFault(nil)
		fs = fs.Crash(rng)
	}
}

// A newer file end stops Open and Peek, and nothing is touched.
func TestUnknownVersionOfEnd(t *testing.T) {
	t.Parallel()
	fs, _ := several(t)
	b := fs.ReadFile(endFile)
	for slot := range 2 {
		s := b[slot*4096:]
		binary.LittleEndian.PutUint32(s[8:], 2)
		binary.LittleEndian.PutUint32(s[60:], crc32.Checksum(s[:60], crc32.MakeTable(crc32.Castagnoli)))
	}
	fs.WriteFile(endFile, b)
	cfg := journal.Config{Dir: dir, FS: fs, SegmentSize: segmentBytes}
	if _, _, err := journal.Open(cfg); !errors.Is(err, journal.ErrVersion) {
		t.Errorf("open: %v, want ErrVersion", err)
	}
	if err := journal.Peek(cfg, 0, func(string, *journal.Record) error { return nil }); !errors.Is(err, journal.ErrVersion) {
		t.Errorf("peek: %v, want ErrVersion", err)
	}
	if !bytes.Equal(fs.ReadFile(endFile), b) {
		t.Error("it was changed")
	}
}

// DM-6: what is no file and has the name of one neither stops nor blocks the start, nor
// is more read than a segment can have.
func TestOddFilesAreMovedAside(t *testing.T) {
	t.Parallel()
	odd := map[string]func(name string) error{
		"directory": func(name string) error {
			if err := os.Mkdir(name, 0o700); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(name, "x"), nil, 0o600)
		},
		"pipe":             func(name string) error { return unix.Mkfifo(name, 0o600) },
		"link to nothing":  func(name string) error { return os.Symlink("nothing", name) },
		"link to itself":   func(name string) error { return os.Symlink(name, name) },
		"link to a device": func(name string) error { return os.Symlink("/dev/zero", name) },
		"1 TiB": func(name string) error {
			if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
				return err
			}
			return os.Truncate(name, 1<<40)
		},
	}
	for what, put := range odd {
		for _, which := range []string{"oldest", "middle", "newest", "end", "spare", "temporary", "damaged"} {
			t.Run(what+" as "+which, func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				cfg := journal.Config{Dir: filepath.Join(root, "journal"), SegmentSize: segmentBytes}
				j, _, err := journal.Open(cfg)
				if err != nil {
					t.Fatal(err)
				}
				grow(t, j, 240)
				segs := j.Segments()
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				segment := func(i int) string { return fmt.Sprintf("%s/%020d.log", cfg.Dir, segs[i].Base) }
				name := map[string]string{
					"oldest": segment(0), "middle": segment(1), "newest": segment(len(segs) - 1), "end": filepath.Join(cfg.Dir, "end"),
					"spare": filepath.Join(cfg.Dir, "spare-1"), "temporary": filepath.Join(cfg.Dir, "end.tmp"), "damaged": filepath.Join(root, "damaged"),
				}[which]
				if err := os.RemoveAll(name); err != nil {
					t.Fatal(err)
				}
				if err := put(name); err != nil {
					t.Fatal(err)
				}
				if which == "damaged" { // so that it is needed
					if err := os.Remove(segment(1)); err != nil {
						t.Fatal(err)
					}
					if err := unix.Mkfifo(segment(1), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				opened := func() journal.Recovery {
					if err := journal.Peek(cfg, 0, func(string, *journal.Record) error { return nil }); err != nil {
						t.Fatal(err)
					}
					j, rec, err := journal.Open(cfg)
					if err != nil {
						t.Fatal(err)
					}
					goOn(t, j, rec)
					if first, err := j.Append([]journal.Record{{Kind: 1}}); err != nil || first <= 240 {
						t.Errorf("LSN %d, %v", first, err)
					}
					if err := j.Close(); err != nil {
						t.Error(err)
					}
					return rec
				}
				began := time.Now()
				rec := opened()
				if told := len(rec.Damage) > 0; told != (which != "spare" && which != "temporary") {
					t.Errorf("damage %+v", rec.Damage)
				}
				if rec = opened(); len(rec.Damage) > 0 {
					t.Errorf("the next start finds %+v", rec.Damage)
				}
				if d := time.Since(began); d > time.Minute {
					t.Errorf("two starts took %v", d)
				}
			})
		}
	}
}

// DM-2: what a segment says of how far it is durable tells a lost tail, within 256 KiB.
func TestLostTailIsToldBeyondTheMark(t *testing.T) {
	t.Parallel()
	fs := journaltest.New()
	cfg := journal.Config{Dir: dir, FS: fs, SegmentSize: 8 << 20}
	j, _, err := journal.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	grow(t, j, 1000) // some 950 bytes each
	kept := fs.Clone()
	for _, c := range []struct {
		back int // how many bytes before the end of the records are zeros
		told bool
	}{{300 << 10, true}, {4096, false}} {
		fs := kept.Clone()
		b := fs.ReadFile(firstSegment)
		n := inUse(b)
		clear(b[n-c.back : n])
		fs.WriteFile(firstSegment, b)
		cfg.FS = fs
		_, rec, err := journal.Open(cfg)
		if err != nil || (len(rec.Damage) > 0) != c.told {
			t.Errorf("%d bytes of zeros: %+v, %v", c.back, rec, err)
		}
	}
}
