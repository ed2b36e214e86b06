package journal

import "io"

// Snapshot holds all files as they were when it was taken, up to the newest
// durable record, until it is closed. Copying them into an empty directory
// gives a journal that Open accepts.
type Snapshot struct {
	j        *Journal
	segments []*segment
	end      int64 // of what is durable in the newest
	last     LSN
}

// SnapshotFile is one file of a Snapshot.
type SnapshotFile struct {
	Name string
	Size int64
	Open func() (io.ReadCloser, error)
}

// Snapshot takes one. It does not stop anything.
func (j *Journal) Snapshot() (*Snapshot, error) {
	if err := j.err(); err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s := &Snapshot{j: j, segments: append([]*segment(nil), j.segments...), end: j.syncOff}
	for _, seg := range s.segments {
		seg.refs++
	}
	s.last = j.syncLSN
	return s, nil
}

// Last returns the newest record in the snapshot.
func (s *Snapshot) Last() LSN { return s.last }

// Files lists the files, oldest first.
func (s *Snapshot) Files() []SnapshotFile {
	out := make([]SnapshotFile, len(s.segments))
	for i, seg := range s.segments {
		size := seg.size
		if i == len(s.segments)-1 {
			size = s.end // what is behind it is not durable, or zeros
		}
		out[i] = SnapshotFile{Name: seg.name, Size: size, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(seg.file, 0, size)), nil
		}}
	}
	return out
}

// Close lets go of the files. It is harmless to call it again.
func (s *Snapshot) Close() error {
	for _, seg := range s.segments {
		s.j.unpin(seg)
	}
	s.segments = nil
	return nil
}
