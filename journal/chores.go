package journal

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
)

// Run does in the background what appending should not wait for: it keeps a
// next segment ready, writes the footers of complete ones, and removes dropped
// files. It returns nil when ctx has ended.
func (j *Journal) Run(ctx context.Context) error {
	for {
		j.writeFooters()
		j.reap()
		j.prepare()
		select {
		case <-j.chores:
		case <-ctx.Done():
			return nil
		}
	}
}

// prepare makes a spare file when there is none. When that fails, appending
// tries itself as soon as it needs one, and tells.
func (j *Journal) prepare() {
	j.fileMu.Lock()
	defer j.fileMu.Unlock()
	if len(j.spares) > 0 || j.err() != nil {
		return
	}
	if err := j.makeSpare(j.cfg.SegmentSize); err != nil {
		j.log.Warn("next journal segment could not be prepared", slog.Any("err", err))
	}
}

// writeFooters gives complete segments their index. Without one a start takes
// longer; so an error is told and left at that.
func (j *Journal) writeFooters() {
	for {
		j.mu.Lock()
		if len(j.unsealed) == 0 {
			j.mu.Unlock()
			return
		}
		s := j.unsealed[0]
		j.unsealed = j.unsealed[1:]
		s.refs++
		j.mu.Unlock()
		if err := j.writeFooter(s); err != nil {
			j.log.Warn("journal footer could not be written", slog.String("segment", s.name), slog.Any("err", err))
		}
		j.unpin(s)
	}
}

func (j *Journal) writeFooter(s *segment) error {
	b, at, blocks := s.footer(s.keys, s.last, s.end)
	if at < s.end {
		return nil // it does not fit: the index stays in memory
	}
	if _, err := s.file.WriteAt(b, at); err != nil {
		return fmt.Errorf("write footer: %w", err)
	}
	if err := s.file.Datasync(); err != nil {
		return fmt.Errorf("sync footer: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for name, k := range s.keys {
		bl := blocks[name]
		k.block, k.length, k.entries = bl[0], int(bl[1]), nil
	}
	return nil
}

// Drop gives up complete segments that end below an LSN. Their files are reused
// or removed as soon as no reader uses them any more.
func (j *Journal) Drop(below LSN) error {
	if err := j.err(); err != nil {
		return err
	}
	j.mu.Lock()
	n := 0
	for n < len(j.segments)-1 && j.segments[n].last < below {
		j.decoded.forget(j.segments[n].base)
		n++
	}
	j.doomed = append(j.doomed, j.segments[:n]...)
	j.segments = append([]*segment(nil), j.segments[n:]...)
	j.unsealed = slices.DeleteFunc(j.unsealed, func(s *segment) bool { return s.last < below }) // their files get another life
	j.mu.Unlock()
	j.reap()
	return j.err()
}

// reap removes dropped files, strictly from the oldest on and each durably
// before the next: a crash must not leave a gap that looks like a loss. A file
// that cannot be removed keeps its place, and is tried again later.
func (j *Journal) reap() {
	j.fileMu.Lock()
	defer j.fileMu.Unlock()
	j.closeReplaced()
	for {
		j.mu.Lock()
		if len(j.doomed) == 0 || j.doomed[0].refs > 0 || j.err() != nil {
			j.mu.Unlock()
			return
		}
		s := j.doomed[0]
		j.mu.Unlock()
		if err := j.remove(s); err != nil {
			j.log.Warn("dropped journal segment could not be removed", slog.String("segment", s.name), slog.Any("err", err))
			return
		}
		j.mu.Lock()
		j.doomed = j.doomed[1:]
		j.mu.Unlock()
		_ = s.file.Close() // nothing of it is needed any more
		if err := j.fs.SyncDir(j.cfg.Dir); err != nil {
			_ = j.fail(fmt.Errorf("sync directory: %w", err)) // the names on the disk are uncertain: every call tells
			return
		}
	}
}

func (j *Journal) remove(s *segment) error {
	if s.size == j.cfg.SegmentSize && len(j.spares) < maxSpares {
		name := fmt.Sprintf("%s%020d", sparePrefix, uint64(s.base))
		if err := j.fs.Rename(j.path(s.name), j.path(name)); err != nil {
			return err
		}
		j.addSpare(name)
		return nil
	}
	return j.fs.Remove(j.path(s.name))
}
