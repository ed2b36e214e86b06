package store

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"time"

	"github.com/tidwall/btree"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/journal"
)

// state.db: one bucket with the rows of all tables, one with what the
// checkpoint reaches. See ARCHITECTURE.md for why so few buckets.
var (
	bucketRows = []byte("rows")
	bucketMeta = []byte("meta")
	keyMeta    = []byte("checkpoint")
)

const (
	stateFile    = "state.db"
	stateVersion = formatVersion
)

// checkpointMeta says whose checkpoint a state.db is and how far it reaches.
type checkpointMeta struct {
	Version uint64      `cbor:"1,keyasint"`
	Node    string      `cbor:"2,keyasint"`
	Journal uint64      `cbor:"3,keyasint"`
	LSN     journal.LSN `cbor:"4,keyasint"`

	Idem  idemPeriod `cbor:"6,keyasint,omitzero"`
	Known int64      `cbor:"7,keyasint,omitempty"` // when the checkpoint was made, if the clock could be believed, or when that was last; microseconds

	Found *found `cbor:"5,keyasint,omitempty"` // by a start that is still under way; nil: none is
}

// maxStateBytes bounds the file by what a 32-bit board can map.
const maxStateBytes = math.MaxInt32/2 + 1

func openBolt(path string, readOnly bool) (*bbolt.DB, error) {
	opt := *bbolt.DefaultOptions
	opt.PageSize = 4096 // a Pi 5 has pages of 16 kB; files must move between boards
	opt.FreelistType = bbolt.FreelistMapType
	opt.NoFreelistSync = false // else opening reads the whole file
	opt.MaxSize = maxStateBytes
	opt.Timeout = time.Second // another process can only be a tool: say so instead of hanging
	opt.PreLoadFreelist = !readOnly
	opt.ReadOnly = readOnly
	opt.OpenFile = openQuiet
	return bbolt.Open(path, 0o600, &opt)
}

// openQuiet opens a file so that reading it does not write to the card when it
// was read, where the owner allows that; and so that what is read is what the
// disk has, rather than what the kernel could not write.
func openQuiet(name string, flag int, perm os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(name, flag|unix.O_NOATIME, perm) // #nosec G304 -- below the data directory
	if errors.Is(err, os.ErrPermission) {
		f, err = os.OpenFile(name, flag, perm) // #nosec G304 -- as above
	}
	if err == nil {
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // some file systems have no such memory
	}
	return f, err
}

// openState opens state.db. A missing file is an empty checkpoint; any error
// but a *NewerError means that the file is damaged.
func openState(path string, readOnly bool) (db *bbolt.DB, meta checkpointMeta, err error) {
	// bbolt panics on some damaged pages, and reading a truncated file through
	// its mapping is a fault. What is met here may be a ruin: that must stay an
	// error.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			db, meta, err = nil, checkpointMeta{}, fmt.Errorf("open state.db: %v", r)
		}
	}()
	db, err = openBolt(path, readOnly)
	if err != nil {
		return nil, meta, fmt.Errorf("open state.db: %w", err)
	}
	err = readMeta(db, &meta)
	if err == nil && meta.LSN > 0 {
		readAll(path)
		err = checkRows(db)
	}
	if err != nil {
		_ = db.Close() // the first error is the one to tell
		return nil, meta, fmt.Errorf("open state.db: %w", err)
	}
	return db, meta, nil
}

func readMeta(db *bbolt.DB, meta *checkpointMeta) error {
	fresh := false
	err := db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketMeta)
		if b == nil || tx.Bucket(bucketRows) == nil {
			fresh = true
			return nil
		}
		return cborDecode(b.Get(keyMeta), meta)
	})
	if err != nil {
		return err
	}
	if err := newer(stateFile, meta.Version); err != nil {
		return err
	}
	if !fresh {
		return nil
	}
	if db.IsReadOnly() {
		return errors.New("it is empty")
	}
	return db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketRows)
		if err != nil {
			return err
		}
		b, err := tx.CreateBucketIfNotExists(bucketMeta)
		if err != nil {
			return err
		}
		return b.Put(keyMeta, cborEncode(checkpointMeta{Version: stateVersion}))
	})
}

// readAll brings a file into the kernel's memory from its beginning to its end.
// bbolt would read it a page at a time, here and there, which takes many times as
// long. What cannot be read is met again when it is needed.
func readAll(path string) {
	f, err := os.Open(path) // #nosec G304 -- below the data directory
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }() // only read
	_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, f, make([]byte, 256<<10))
}

// checkRows walks all pages that rows are on, which makes bbolt notice damage
// now rather than in the middle of work.
func checkRows(db *bbolt.DB) error {
	return db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketRows).ForEach(func(k, _ []byte) error {
			if len(k) == 0 || !table(k[0]).known() {
				return fmt.Errorf("row of unknown table %q", k)
			}
			return nil
		})
	})
}

// writeState moves rows to state.db in one transaction together with the
// journal position they reach, and drops obsolete ones.
func writeState(db *bbolt.DB, rows *btree.Map[string, []byte], meta checkpointMeta) (written int64, err error) {
	err = db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketRows)
		var err error
		rows.Scan(func(k string, v []byte) bool {
			if v == nil {
				err = b.Delete([]byte(k))
			} else {
				err = b.Put([]byte(k), v)
			}
			return err == nil
		})
		if err != nil {
			return err
		}
		if err := dropObsolete(b, &meta); err != nil {
			return err
		}
		err = tx.Bucket(bucketMeta).Put(keyMeta, cborEncode(meta))
		tx.OnCommit(func() {
			stats := tx.Stats()
			written = stats.GetPageAlloc() + 2*block
		})
		return err
	})
	return written, err
}

// dropObsolete deletes the rows that their kinds call obsolete.
func dropObsolete(b *bbolt.Bucket, meta *checkpointMeta) error {
	for _, tb := range tablesWhere(func(k *rowKind) bool { return k.obsolete != nil }) {
		first, end := []byte{byte(tb)}, rowKey(tb, tb.kind().obsolete(meta))
		c := b.Cursor()
		for k, _ := c.Seek(first); k != nil && string(k) < end; k, _ = c.Seek(first) {
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	return nil
}

// scanState calls fn with every row of the tables that are wanted.
func scanState(db *bbolt.DB, wanted func(table) bool, fn func(t table, key, value []byte) error) error {
	return db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketRows).Cursor()
		k, v := c.First()
		for k != nil {
			if t := table(k[0]); !wanted(t) {
				k, v = c.Seek([]byte{byte(t) + 1})
				continue
			}
			if err := fn(table(k[0]), k[1:], v); err != nil {
				return err
			}
			k, v = c.Next()
		}
		return nil
	})
}
