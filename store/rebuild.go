package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/picloud/picloud"
)

// Rebuilt is what a node is rebuilt from.
type Rebuilt struct {
	ID          string // the node it was
	Incarnation uint64 // higher than any it has had
	RecoveryKey []byte

	// Fill puts what there is, events of each app in order. Their sequences are
	// kept where that is possible.
	Fill func(put func(picloud.Record) error) error
	// Contents puts the contents of files, each in parts, in order; nil: there are
	// none.
	Contents func(put func(name string, part []byte) error) error
	// Lacking is told of each file whose content did not come, or is not the one that
	// the file had; nil: no report.
	Lacking func(f picloud.File)
	// HandOver is called when all of it is durable, before the directory becomes a
	// node: with who it will be and its newest record.
	HandOver func(node picloud.Node, last uint64) error
}

// Rebuild makes a node in an empty or missing directory from a copy that was
// kept elsewhere. It begins a new epoch. After an error the directory is as it
// was.
func Rebuild(ctx context.Context, cfg Config, from Rebuilt) (picloud.Node, error) {
	n, err := rebuild(ctx, cfg, from)
	if err != nil {
		return picloud.Node{}, fmt.Errorf("rebuild: %w", err)
	}
	return n, nil
}

func rebuild(ctx context.Context, cfg Config, from Rebuilt) (picloud.Node, error) {
	var node picloud.Node
	err := inPlace(cfg.Dir, func(tmp string) error {
		id := newIdentity(cfg.withDefaults().Now())
		id.ID, id.Incarnation, id.RecoveryKey = from.ID, from.Incarnation, from.RecoveryKey
		id.KeepFiles = true // they may be brought over from the old card
		if err := os.MkdirAll(tmp, 0o700); err != nil {
			return err
		}
		if err := id.write(tmp); err != nil {
			return err
		}
		cfg.Dir, cfg.making = tmp, true
		s, err := Open(cfg)
		if err != nil {
			return err
		}
		last, err := s.fill(ctx, from.Fill)
		if err == nil {
			err = s.checkAllReferences()
		}
		if err == nil {
			err = s.refill(&from)
		}
		if err = errors.Join(err, s.Close()); err != nil {
			return err
		}
		node = s.Node()
		if err := os.RemoveAll(filepath.Join(tmp, "lock")); err != nil {
			return err
		}
		return from.HandOver(node, last)
	})
	return node, err
}

// fill commits what a copy puts, group by group, and returns the newest record.
// There is no committer yet, nor any other goroutine.
func (s *Store) fill(ctx context.Context, put func(put func(picloud.Record) error) error) (uint64, error) {
	g := s.commit.group
	begin := func() { g.begin(s.catalog.Load().copy(), micros(s.cfg.Now())) }
	commit := func() error {
		g.hard, g.changed = true, true
		before := s.journal.Written()
		err := s.commitGroup(g)
		if err == nil && len(g.records) > 0 && s.journal.Written() == before {
			err = picloud.ErrNoSpace
		}
		begin()
		return err
	}
	begin()
	count := thingCount{}
	err := put(func(r picloud.Record) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		var err error
		if r.Event != nil {
			err = s.restoreEvent(g, r.Event)
		} else {
			err = s.restoreChange(g, r.Change, count)
		}
		if err != nil {
			return err
		}
		if g.encoded() >= min(rowsChunk/2, int(s.journal.GroupLimit()/4)) {
			return commit()
		}
		return nil
	})
	if err == nil {
		err = commit()
	}
	last := uint64(s.journal.Written())
	for _, owner := range s.cfg.Readers {
		s.MoveCursor(owner, last)
	}
	return last, err
}
