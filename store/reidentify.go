package store

import (
	"fmt"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/picloud/picloud"
)

// NewIdentity makes the node in a directory another one, with all it has: for
// the copy of a card that is to live beside the original. The node must not run.
func NewIdentity(dir string) (picloud.Node, error) {
	return reidentify(dir, func(id *identity) error {
		fresh := newIdentity(time.Now())
		db, meta, err := openState(filepath.Join(dir, stateFile), false)
		if err != nil {
			return err
		}
		meta.Node = fresh.ID
		err = db.Update(func(tx *bbolt.Tx) error { return putMeta(tx, &meta) })
		if cerr := db.Close(); err == nil {
			err = cerr
		}
		fresh.LostLSN, fresh.KeepFiles, fresh.Untold = id.LostLSN, id.KeepFiles, id.Untold
		*id = fresh
		return err
	})
}

// TakeOver makes the node in a directory the one that goes on, when there is
// another card of it or it was set back to an older state: others are fenced
// off as soon as it reaches the database they share. The node must not run.
func TakeOver(dir string) (picloud.Node, error) {
	return reidentify(dir, func(id *identity) error {
		id.Incarnation++
		id.renewEpoch()
		id.Forks[len(id.Forks)-1].Copied = true
		return nil
	})
}

func reidentify(dir string, change func(*identity) error) (picloud.Node, error) {
	lock, err := lockDir(dir)
	if err != nil {
		return picloud.Node{}, err
	}
	defer func() { _ = lock.Close() }() // nothing was written through it
	if err := settleRestore(dir); err != nil {
		return picloud.Node{}, err
	}
	if err := checkFormats(&Config{Dir: dir}); err != nil {
		return picloud.Node{}, err
	}
	id, err := readIdentity(dir)
	if err != nil {
		return picloud.Node{}, err
	}
	if err := change(&id); err != nil {
		return picloud.Node{}, fmt.Errorf("change the identity: %w", err)
	}
	return id.node(""), id.write(dir)
}
