package pgsync

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// dataKinds are the kinds of definitions that apps keep as data.
var dataKinds = []string{string(picloud.ChangeScript), string(picloud.ChangeSecret), string(picloud.ChangeDeadLetter)}

// partedNote says that the journal is not the one that was copied, why, and that the copy
// was not brought in line yet.
const (
	partedNote      = "pgsync parted"
	partedByLoss    = "loss"
	partedOnPurpose = "restore"
)

// mendCopy brings the copy in line when the journal is not the one that was copied. After a
// loss that is done once what the copy alone has came back: nothing is removed from it.
func (s *Sync) mendCopy(ctx context.Context) error {
	how := string(s.cfg.Local.Note(partedNote))
	if how == "" || len(s.cfg.Local.MissingRows()) > 0 {
		return nil
	}
	if how == partedOnPurpose {
		if err := s.copyData(ctx); err != nil {
			return err
		}
	}
	if err := s.align(ctx, how == partedOnPurpose); err != nil {
		return err
	}
	return s.cfg.Local.SetNote(ctx, partedNote, nil)
}

// align copies what is missing in the copy. After a restore it also copies all that has no
// version, and removes from the copy what the node has not.
func (s *Sync) align(ctx context.Context, restored bool) error {
	d, err := s.compareNow(ctx)
	if err != nil {
		return err
	}
	if !restored {
		return s.copyMissing(ctx, d.missing)
	}
	err = s.cfg.Local.Things(func(kind picloud.ChangeKind, app, name string, version uint64) bool {
		if version == 0 && !slices.Contains(dataKinds, string(kind)) {
			d.missing[thing{kind, app, name}] = 0
		}
		return true
	})
	if err == nil {
		err = s.copyMissing(ctx, d.missing)
	}
	if err != nil {
		return err
	}
	return s.write(ctx, "remove what was restored to an earlier state", s.lsn, func(b *pgx.Batch) {
		for t := range d.lost {
			s.queueTaken(b, t)
			s.queueDelete(b, s.cfg.Local.Node().ID, t)
		}
	})
}

// copyData brings the data of all apps to what they are now. The position stays:
// when this is interrupted, it is done again from the beginning.
func (s *Sync) copyData(ctx context.Context) error {
	node := s.cfg.Local.Node().ID
	kinds := append([]string{string(picloud.ChangeKV), string(picloud.ChangeDocument), string(picloud.ChangeFile)}, dataKinds...)
	err := s.write(ctx, "copy the data of apps", s.lsn, func(b *pgx.Batch) {
		for _, table := range []string{"kv", "documents", "files"} {
			b.Queue(s.q("DELETE FROM @"+table+" WHERE node_id = $1"), node)
		}
		b.Queue(s.q("DELETE FROM @definitions WHERE node_id = $1 AND kind = ANY ($2)"), node, dataKinds)
		b.Queue(s.q("DELETE FROM @set_aside WHERE node_id = $1 AND kind = ANY ($2)"), node, kinds)
	})
	for after := ""; err == nil; {
		page, next, fault := s.cfg.Local.Data(after)
		if fault != nil {
			return fault
		}
		changes := make([]*picloud.Change, len(page))
		for i := range page {
			changes[i] = &page[i]
		}
		if err := s.sendContents(ctx, changes); err != nil {
			return err
		}
		if err = s.putAll(ctx, changes); next == "" {
			return err
		}
		after = next
	}
	return err
}

// putAll puts things in their tables. One that these refuse for good is set aside, and
// the others are put.
func (s *Sync) putAll(ctx context.Context, changes []*picloud.Change) error {
	node := s.cfg.Local.Node().ID
	err := s.write(ctx, "copy the data of apps", s.lsn, func(b *pgx.Batch) {
		for _, c := range changes {
			s.queuePut(b, node, &picloud.Record{Change: c})
		}
	})
	switch {
	case !isPermanent(err):
		return err
	case len(changes) == 1:
		return s.setAside(ctx, &picloud.Record{LSN: s.lsn, Change: changes[0]}, s.lsn, err)
	}
	half := len(changes) / 2
	if err := s.putAll(ctx, changes[:half]); err != nil {
		return err
	}
	return s.putAll(ctx, changes[half:])
}
