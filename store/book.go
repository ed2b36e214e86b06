package store

import (
	"time"

	"go.etcd.io/bbolt"
)

// The book says since when temporary files are known. Like all in cache.db it may be
// lost.

var bucketTemps = []byte("temporary files")

// Booked returns what is in the book.
func (s *Store) Booked() (map[string]time.Time, error) {
	names := map[string]time.Time{}
	if s.shared.db == nil {
		return names, nil
	}
	err := s.shared.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketTemps)
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, kept []byte) error {
			v, ok := cacheSeal.open(k, kept)
			if !ok {
				return nil // it is noted anew
			}
			var at int64
			err := cborDecode(v, &at)
			names[string(k)] = fromMicros(at)
			return err
		})
	})
	return names, err
}

// Book replaces what is in the book.
func (s *Store) Book(names map[string]time.Time) error {
	if s.shared.db == nil {
		return nil
	}
	return s.shared.db.Update(func(tx *bbolt.Tx) error {
		if tx.Bucket(bucketTemps) != nil {
			if err := tx.DeleteBucket(bucketTemps); err != nil {
				return err
			}
		}
		b, err := tx.CreateBucket(bucketTemps)
		for name, at := range names {
			if err == nil {
				kept, _ := cacheSeal.add([]byte(name), cborEncode(micros(at)))
				err = b.Put([]byte(name), kept)
			}
		}
		return err
	})
}
