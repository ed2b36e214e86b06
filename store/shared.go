package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"

	"go.etcd.io/bbolt"

	"github.com/picloud/picloud"
)

// shared are the signing keys that the nodes of one database share, as that
// database last told them. They are a cache: cache.db brings them back after a
// restart without the database, and losing it loses nothing.
type shared struct {
	mu   sync.RWMutex
	apps map[string][]picloud.SigningKey
	db   *bbolt.DB // nil: not kept
}

const cacheFile = "cache.db"

var (
	bucketSigning = []byte("signing keys")
	keyFormat     = []byte("format") // in bucketMeta
)

// cacheSeal makes and checks the checksums of rows in cache.db.
var cacheSeal = seal{}

// peekCache returns a *NewerError when a newer picloud wrote a cache.db.
func peekCache(path string) error {
	err := peekBolt(path, func(f *pageFile) error {
		w := pageWalk{f: f, fault: strictly, row: func(bucket string, key, value []byte) error {
			if bucket != string(bucketMeta) || !bytes.Equal(key, keyFormat) {
				return nil
			}
			var format uint64
			_ = cborDecode(value, &format) // one that is unreadable is written anew
			return newer(cacheFile, format)
		}}
		return w.walk()
	})
	return onlyNewer(err)
}

// cacheFormat returns the format a cache.db says it has; 0 means the first.
func cacheFormat(tx *bbolt.Tx) (format uint64) {
	if b := tx.Bucket(bucketMeta); b != nil {
		_ = cborDecode(b.Get(keyFormat), &format) // one that is unreadable is written anew
	}
	return format
}

// openShared reads cache.db, or begins a new one.
func (s *Store) openShared() {
	s.shared.apps = map[string][]picloud.SigningKey{}
	if s.readOnly {
		return
	}
	err := s.readShared()
	if err != nil {
		s.log.Warn("cache of keys was unusable and is begun anew", slog.Any("err", err))
		_ = os.Remove(s.path(cacheFile)) // the next error tells
		err = s.readShared()
	}
	if err != nil {
		s.log.Warn("keys of other nodes are not kept over a restart", slog.Any("err", err))
	}
}

func (s *Store) readShared() error {
	db, err := openBolt(s.path(cacheFile), false, checkPages)
	if err != nil {
		return inBolt(cacheFile, err)
	}
	apps := map[string][]picloud.SigningKey{}
	err = db.Update(func(tx *bbolt.Tx) error {
		if err := upgradeCache(tx); err != nil {
			return err
		}
		b, err := tx.CreateBucketIfNotExists(bucketSigning)
		if err != nil {
			return err
		}
		return b.ForEach(func(key, kept []byte) error {
			v, ok := cacheSeal.open(key, kept)
			if !ok {
				return errChecksum
			}
			var k picloud.SigningKey
			if err := cborDecode(v, &k); err != nil {
				return err
			}
			k.CreatedAt, k.RetiresAt = k.CreatedAt.UTC(), k.RetiresAt.UTC() // compared as they are
			apps[k.App] = append(apps[k.App], k)
			return nil
		})
	})
	if err != nil {
		return errors.Join(fmt.Errorf("read %s: %w", cacheFile, err), db.Close())
	}
	s.shared.db, s.shared.apps = db, apps
	return nil
}

// upgradeCache gives the rows of a cache.db of an older format checksums.
func upgradeCache(tx *bbolt.Tx) error {
	format := cacheFormat(tx)
	if format == formatVersion {
		return nil
	}
	meta, err := tx.CreateBucketIfNotExists(bucketMeta)
	if err == nil {
		err = meta.Put(keyFormat, cborEncode(uint64(formatVersion)))
	}
	if err != nil || format >= sealedSince {
		return err
	}
	for _, name := range [][]byte{bucketSigning, bucketTemps} {
		b := tx.Bucket(name)
		if b == nil {
			continue
		}
		rows := map[string][]byte{} // they are few, and a bucket must not change while it is read
		_ = b.ForEach(func(k, v []byte) error {
			rows[string(k)], _ = cacheSeal.add(k, v)
			return nil
		})
		for k, kept := range rows {
			if err := b.Put([]byte(k), kept); err != nil {
				return err
			}
		}
	}
	return nil
}

// ShareKeys takes over what the database knows of the signing keys of this
// node's apps, its own included, whose ids are in own: those that are gone here went
// with an app. A key that no node could have made is no key. Streams whose key is gone, or ends sooner than was known, are told.
func (s *Store) ShareKeys(ctx context.Context, keys []picloud.SigningKey, own map[string]bool) error {
	signing := s.catalog.Load().signing()
	keys = slices.DeleteFunc(slices.Clone(keys), func(k picloud.SigningKey) bool {
		_, here := signing.Get(pair(k.App, k.ID))
		return own[k.ID] && !here || checkSigningKey(k) != nil
	})
	fresh := map[string][]picloud.SigningKey{}
	for _, k := range keys {
		fresh[k.App] = append(fresh[k.App], k)
	}
	before := s.shared.swap(fresh)
	ended := endedKeys(before, fresh)
	if len(ended) > 0 {
		err := s.do(ctx, "", func(tx *tx) error {
			for _, r := range ended {
				tx.revoke(r)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("end streams of retired keys: %w", err)
		}
	}
	if s.shared.db == nil || sameKeys(before, fresh) {
		return nil
	}
	err := s.shared.db.Update(func(tx *bbolt.Tx) error {
		if err := tx.DeleteBucket(bucketSigning); err != nil {
			return err
		}
		b, err := tx.CreateBucket(bucketSigning)
		if err != nil {
			return err
		}
		for _, k := range keys {
			key := []byte(pair(k.App, k.ID))
			kept, _ := cacheSeal.add(key, cborEncode(k))
			if err := b.Put(key, kept); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", cacheFile, err)
	}
	return nil
}

// dropApp drops the keys of an app that was deleted, so that none is good for the app
// that gets its name next.
func (sh *shared) dropApp(app string) error {
	sh.mu.Lock()
	_, there := sh.apps[app]
	if there {
		sh.apps = maps.Clone(sh.apps) // others read the old one without the lock
		delete(sh.apps, app)
	}
	sh.mu.Unlock()
	if !there || sh.db == nil {
		return nil
	}
	return sh.db.Update(func(tx *bbolt.Tx) error {
		prefix := []byte(pair(app, ""))
		c := tx.Bucket(bucketSigning).Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Seek(prefix) {
			if err := c.Delete(); err != nil {
				return err
			}
		}
		return nil
	})
}

func (sh *shared) swap(fresh map[string][]picloud.SigningKey) (before map[string][]picloud.SigningKey) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	before, sh.apps = sh.apps, fresh
	return before
}

func sameKeys(a, b map[string][]picloud.SigningKey) bool {
	if len(a) != len(b) {
		return false
	}
	for app, keys := range a {
		if !slices.Equal(keys, b[app]) {
			return false
		}
	}
	return true
}

// endedKeys lists the keys that end sooner than was known, or at once.
func endedKeys(before, now map[string][]picloud.SigningKey) []picloud.Revocation {
	var out []picloud.Revocation
	for app, keys := range before {
		for _, old := range keys {
			i := slices.IndexFunc(now[app], func(k picloud.SigningKey) bool { return k.ID == old.ID })
			switch {
			case i < 0:
				out = append(out, picloud.Revocation{App: app, SigningKey: old.ID})
			case !now[app][i].RetiresAt.Equal(old.RetiresAt):
				out = append(out, picloud.Revocation{App: app, SigningKey: old.ID, At: now[app][i].RetiresAt})
			}
		}
	}
	return out
}

// merge adds the shared keys of an app to this node's own, and ends each when
// the first that knows says so.
func (sh *shared) merge(app string, own []picloud.SigningKey) []picloud.SigningKey {
	sh.mu.RLock()
	others := sh.apps[app]
	sh.mu.RUnlock()
	keys := slices.Clone(own)
	for _, k := range others {
		i := slices.IndexFunc(keys, func(o picloud.SigningKey) bool { return o.ID == k.ID })
		if i < 0 {
			keys = append(keys, k)
		} else {
			keys[i].RetiresAt = earlier(keys[i].RetiresAt, k.RetiresAt)
		}
	}
	for _, k := range own {
		if k.EndsOlder.IsZero() {
			continue
		}
		for i := range keys {
			if keys[i].CreatedAt.Before(k.CreatedAt) {
				keys[i].RetiresAt = earlier(keys[i].RetiresAt, k.EndsOlder)
			}
		}
	}
	return keys
}

func (sh *shared) close() error {
	if sh.db == nil {
		return nil
	}
	return sh.db.Close()
}
