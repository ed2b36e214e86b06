package store

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"

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
	keyMetaSum = []byte("checkpoint sum") // a CRC-32C of what keyMeta has, of every format from 3 on
)

const (
	stateFile    = "state.db"
	stateVersion = formatVersion
	sealedSince  = 3 // the format whose rows have checksums
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

	Salt uint32    `cbor:"8,keyasint,omitempty"` // of the checksums of rows
	Sums tableSums `cbor:"9,keyasint,omitempty"` // of the rows
}

func (m *checkpointMeta) seal() seal { return seal{salt: m.Salt, none: m.Version < sealedSince} }

// stateDB is an open state.db. Any may read; one writes, the one that writes checkpoints.
type stateDB struct {
	*bbolt.DB

	seal seal
	sums tableSums // of the rows as they are in the file
	bad  [][]byte  // keys of rows whose checksum was wrong when it was opened
}

// openState opens state.db after all of it was read and checked. A missing file is an
// empty checkpoint; any error but a *NewerError and those of isUnread means that the file
// is damaged.
func openState(path string, readOnly bool) (*stateDB, checkpointMeta, error) {
	var r stateReading
	db, err := openBolt(path, readOnly, func(f *pageFile) error {
		err := r.read(f)
		if err == nil {
			err = r.verdict()
		}
		return err
	})
	if err != nil {
		return nil, r.meta, inBolt(stateFile, err)
	}
	st := &stateDB{DB: db, seal: r.meta.seal(), sums: r.sums, bad: r.bad}
	if !r.begun {
		err = st.begin(&r.meta)
	} else if len(r.intact) > 0 && !readOnly {
		err = st.reseal(r.intact)
	}
	if err != nil {
		_ = db.Close() // the first error is the one to tell
		return nil, r.meta, inBolt(stateFile, err)
	}
	return st, r.meta, nil
}

// begin makes an empty file a checkpoint of nothing.
func (st *stateDB) begin(meta *checkpointMeta) error {
	if st.IsReadOnly() {
		return errors.New("it is empty")
	}
	st.seal = newSeal()
	*meta = checkpointMeta{Version: stateVersion, Salt: st.seal.salt}
	return st.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucketIfNotExists(bucketRows); err != nil {
			return err
		}
		return putMeta(tx, meta)
	})
}

// reseal writes rows anew of which only the checksum was damaged.
func (st *stateDB) reseal(keys [][]byte) error {
	return st.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketRows)
		for _, k := range keys {
			value, _, _ := split(b.Get(k))
			kept, _ := st.seal.add(k, value)
			if err := b.Put(k, kept); err != nil {
				return err
			}
		}
		return nil
	})
}

// putMeta writes what a checkpoint says of itself.
func putMeta(tx *bbolt.Tx, meta *checkpointMeta) error {
	b, err := tx.CreateBucketIfNotExists(bucketMeta)
	if err != nil {
		return err
	}
	text := cborEncode(meta)
	if err := b.Put(keyMeta, text); err != nil {
		return err
	}
	if meta.Version < sealedSince {
		return nil
	}
	sum, _ := seal{}.add(text, nil)
	return b.Put(keyMetaSum, sum)
}

// parseMeta reads what putMeta wrote: sum is nil when there is none.
func parseMeta(text, sum []byte) (meta checkpointMeta, err error) {
	if sum != nil {
		if _, ok := (seal{}).open(text, sum); !ok {
			return meta, errors.New("what it says of itself has another checksum")
		}
	}
	if err := cborDecode(text, &meta); err != nil {
		return meta, err
	}
	if err := newer(stateFile, meta.Version); err != nil {
		return checkpointMeta{}, err
	}
	if (sum == nil) == (meta.Version >= sealedSince) {
		return meta, errors.New("what it says of itself is of two formats")
	}
	return meta, nil
}

// write moves rows to state.db in one transaction together with the journal position they
// reach, and drops obsolete ones.
func (st *stateDB) write(rows *btree.Map[string, []byte], meta checkpointMeta) (written int64, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { // a page that has become illegible: a new start finds out what is left
		if r := recover(); r != nil {
			err = fmt.Errorf("%v: %w", r, unix.EIO)
		}
	}()
	w := stateWriter{st: st, sums: st.sums.clone(), unsure: map[table]bool{}}
	err = st.Update(func(tx *bbolt.Tx) error {
		w.rows = tx.Bucket(bucketRows)
		var err error
		rows.Scan(func(k string, v []byte) bool {
			err = w.put([]byte(k), v)
			return err == nil
		})
		if err != nil {
			return err
		}
		if err := w.dropObsolete(&meta); err != nil {
			return err
		}
		w.recount()
		meta.Version, meta.Salt, meta.Sums = stateVersion, st.seal.salt, w.sums
		if st.seal.none {
			meta.Version, meta.Sums = sealedSince-1, nil
		}
		err = putMeta(tx, &meta)
		tx.OnCommit(func() {
			stats := tx.Stats()
			written = stats.GetPageAlloc() + 2*block
		})
		return err
	})
	if err == nil {
		st.sums = w.sums
	}
	return written, err
}

// stateWriter writes the rows of one transaction and keeps the sums.
type stateWriter struct {
	st     *stateDB
	rows   *bbolt.Bucket
	sums   tableSums
	unsure map[table]bool // tables of which a damaged row was replaced
}

// put writes a row; value is nil when it is deleted.
func (w *stateWriter) put(key, value []byte) error {
	seal := w.st.seal
	if seal.none {
		if value == nil {
			return w.rows.Delete(key)
		}
		return w.rows.Put(key, value)
	}
	t := table(key[0])
	if before := w.rows.Get(key); before != nil {
		if _, ok := seal.open(key, before); !ok {
			w.unsure[t] = true
		}
		_, sum, _ := split(before)
		w.sums.add(t, sum, -1)
	}
	if value == nil {
		return w.rows.Delete(key)
	}
	kept, sum := seal.add(key, value)
	w.sums.add(t, sum, 1)
	return w.rows.Put(key, kept)
}

// recount sums up the tables whose sums are not known any more, since they may have had
// the checksum that a damaged row had before.
func (w *stateWriter) recount() {
	for t := range w.unsure {
		delete(w.sums, t)
		c := w.rows.Cursor()
		for k, v := c.Seek([]byte{byte(t)}); k != nil && table(k[0]) == t; k, v = c.Next() {
			_, sum, _ := split(v)
			w.sums.add(t, sum, 1)
		}
	}
}

// dropObsolete deletes the rows that their kinds call obsolete.
func (w *stateWriter) dropObsolete(meta *checkpointMeta) error {
	for _, tb := range tablesWhere(func(k *rowKind) bool { return k.obsolete != nil }) {
		first, end := []byte{byte(tb)}, rowKey(tb, tb.kind().obsolete(meta))
		c := w.rows.Cursor()
		for k, _ := c.Seek(first); k != nil && string(k) < end; k, _ = c.Seek(first) {
			if err := w.put(bytes.Clone(k), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// scan calls fn with every row of the tables that are wanted, but for those whose
// checksum is wrong, of which it calls bad.
func (st *stateDB) scan(wanted func(table) bool, fn func(t table, key, value []byte) error, bad func(key []byte)) error {
	return st.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketRows).Cursor()
		k, kept := c.First()
		for k != nil {
			t := table(k[0])
			if !wanted(t) {
				k, kept = c.Seek([]byte{byte(t) + 1})
				continue
			}
			if v, ok := st.seal.open(k, kept); !ok {
				bad(k)
			} else if err := fn(t, k[1:], v); err != nil {
				return err
			}
			k, kept = c.Next()
		}
		return nil
	})
}
