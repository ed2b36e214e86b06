package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// stateReading is what reading all of a state.db finds.
type stateReading struct {
	meta  checkpointMeta
	begun bool      // it says something of itself
	sums  tableSums // of the rows, by the checksums that they have
	bad   [][]byte  // keys of rows whose checksum is wrong, maxBad of them at most
	bads  int       // how many they are

	// intact are rows whose checksum was damaged and nothing else; none is in bad then.
	intact [][]byte

	// row is called with each row whose checksum is right; nil: not.
	row func(key, value []byte) error

	lawful tableSums // as sums, but with the checksums that rows should have
	text   []byte    // of what it says of itself
	sum    []byte    // of text
}

// maxBad is how many rows of a checkpoint may be lost one by one. More, and the file is
// damaged as a whole.
const maxBad = 1000

// read reads all pages. An error is damage, but for a *NewerError and those of isUnread.
func (r *stateReading) read(f *pageFile) error {
	readAll(f.r, int64(f.pages)*f.pageSize) // #nosec G115 -- below maxStateBytes
	return r.walk(&pageWalk{f: f, fault: strictly})
}

// walk reads what a walk comes to.
func (r *stateReading) walk(w *pageWalk) error {
	r.sums, r.lawful = tableSums{}, tableSums{}
	w.row = func(bucket string, key, value []byte) error {
		switch bucket {
		case string(bucketMeta):
			return r.takeMeta(key, value)
		case string(bucketRows):
			return r.takeRow(key, value)
		}
		return w.fault(fmt.Errorf("it has a bucket %q", bucket))
	}
	if err := w.walk(); err != nil {
		return err
	}
	return r.endMeta()
}

func (r *stateReading) takeMeta(key, value []byte) error {
	switch {
	case bytes.Equal(key, keyMeta):
		r.text = bytes.Clone(value)
	case bytes.Equal(key, keyMetaSum):
		r.sum = bytes.Clone(value)
	}
	return nil
}

// endMeta reads what the file says of itself, once the bucket of that was read.
func (r *stateReading) endMeta() (err error) {
	if r.begun || r.text == nil {
		return nil
	}
	r.begun = true
	r.meta, err = parseMeta(r.text, r.sum)
	return err
}

func (r *stateReading) takeRow(key, kept []byte) error {
	if err := r.endMeta(); err != nil {
		return err
	}
	if !r.begun {
		return errors.New("it does not say what it is")
	}
	seal, t := r.meta.seal(), table(key[0])
	if seal.none {
		if !t.known() {
			return fmt.Errorf("row of unknown table %q", key)
		}
		return r.pass(key, kept)
	}
	value, sum, _ := split(kept)
	lawful := seal.sum(key, value)
	r.sums.add(t, sum, 1)
	r.lawful.add(t, lawful, 1)
	if sum == lawful && t.known() {
		return r.pass(key, value)
	}
	if r.bads++; len(r.bad) < maxBad {
		r.bad = append(r.bad, bytes.Clone(key))
	}
	return nil
}

func (r *stateReading) pass(key, value []byte) error {
	if r.row == nil {
		return nil
	}
	return r.row(key, value)
}

// verdict returns an error unless the rows are those of the checkpoint, but for single
// ones that are damaged. When their checksums are what is damaged, the rows are not.
func (r *stateReading) verdict() error {
	switch {
	case !r.begun || r.meta.seal().none:
		return nil
	case r.bads > maxBad:
		return fmt.Errorf("%d of its rows are damaged", r.bads)
	case maps.Equal(r.sums, r.meta.Sums):
		return nil
	case r.bads > 0 && maps.Equal(r.lawful, r.meta.Sums):
		r.sums, r.intact, r.bad, r.bads = r.lawful, r.bad, nil, 0
		return nil
	}
	return errors.New("it has not the rows of its checkpoint: " + r.missing())
}

// missing says of which tables rows are missing, or are not those of the checkpoint.
func (r *stateReading) missing() string {
	var list []string
	for t := range table(maxTables) {
		have, want := r.sums[t], r.meta.Sums[t]
		name := fmt.Sprintf("table %d", t)
		if t.known() {
			name = t.kind().name
		}
		switch {
		case have == want:
		case have.Rows < want.Rows:
			list = append(list, fmt.Sprintf("%d of %d rows of %s are missing", want.Rows-have.Rows, want.Rows, name))
		default:
			list = append(list, fmt.Sprintf("rows of %s are others or older ones", name))
		}
	}
	return strings.Join(slices.Compact(list), ", ")
}

// peekState reads what a state.db says of itself and which tables it has, without reading
// all of it. Damage is left to who opens it.
func peekState(path string) (meta checkpointMeta, err error) {
	unknownTable := false
	var r stateReading
	err = peekBolt(path, func(f *pageFile) error {
		w := pageWalk{f: f, fault: strictly, skip: func(first, next []byte) bool {
			return next != nil && first[0] == next[0] && table(first[0]).known()
		}}
		w.row = func(bucket string, key, value []byte) error {
			switch bucket {
			case string(bucketMeta):
				return r.takeMeta(key, value)
			case string(bucketRows):
				if err := r.endMeta(); err != nil {
					return err
				}
				if t := table(key[0]); !t.known() {
					if _, ok := r.meta.seal().open(key, value); ok {
						unknownTable = true
						return &NewerError{File: stateFile, What: fmt.Sprintf("table %d", t)}
					}
				}
			}
			return nil
		}
		err := w.walk()
		if err == nil {
			err = r.endMeta()
		}
		if unknownTable && r.meta.seal().none { // no checksum tells damage from another version; the order of the keys may
			if damage := checkPages(f); damage != nil {
				return damage
			}
		}
		return err
	})
	if err != nil {
		return checkpointMeta{}, onlyNewer(err)
	}
	return r.meta, nil
}
