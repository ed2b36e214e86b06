package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	headerMagic   = "PICLOUDJ"
	headerSize    = 64
	formatVersion = 2
	notedVersion  = 2    // since this one the file end is kept
	headerCopy    = 2048 // where the header is once more: a bad sector must not cost the journal's id
	dataStart     = 4096 // records begin a page of their own: the header is never written again
)

// segment is one file of the journal. Its fields are fixed once it is complete,
// but for those that Journal.mu guards.
type segment struct {
	name string // of the file, without directory
	file File
	base LSN
	size int64
	made int64 // the size that it was made with; 0: not said

	// Guarded by Journal.mu while the segment is the active one.
	last LSN   // base-1 while it is empty
	end  int64 // of the records
	keys map[string]*keyIndex

	refs    int    // guarded by Journal.mu
	marks   []mark // in order; guarded by Journal.mu
	thinned bool   // it has taken the place of a larger one, whose entries may still be held
}

func segmentName(base LSN) string { return fmt.Sprintf("%020d.log", uint64(base)) }

// segmentBase reads what segmentName wrote.
func segmentBase(name string) (LSN, bool) {
	digits, ok := strings.CutSuffix(name, ".log")
	if !ok || len(digits) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return LSN(n), err == nil && n > 0
}

func (j *Journal) path(name string) string { return filepath.Join(j.cfg.Dir, name) }

type header struct {
	version uint32
	id      uint64
	base    LSN
	size    int64
}

// header returns the first page of a segment.
func (j *Journal) header(base LSN, size int64) []byte {
	b := make([]byte, dataStart)
	copy(b, headerMagic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint64(b[16:], j.id)
	binary.LittleEndian.PutUint64(b[24:], uint64(base))
	binary.LittleEndian.PutUint64(b[32:], uint64(j.cfg.Now().UnixMicro())) // #nosec G115 -- two's complement
	binary.LittleEndian.PutUint64(b[40:], uint64(size))                    // #nosec G115 -- a size
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	copy(b[headerCopy:], b[:headerSize])
	return b
}

func parseHeader(b []byte) (header, bool) {
	if len(b) < headerSize || string(b[:8]) != headerMagic || binary.LittleEndian.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli) {
		return header{}, false
	}
	h := header{
		version: binary.LittleEndian.Uint32(b[8:]),
		id:      binary.LittleEndian.Uint64(b[16:]),
		base:    LSN(binary.LittleEndian.Uint64(b[24:])),
		size:    int64(binary.LittleEndian.Uint64(b[40:])), // #nosec G115 -- checked below
	}
	return h, h.size >= dataStart
}

// zeros is what new files are filled with.
var zeros [256 << 10]byte

// fill writes zeros to f from offset from to size.
func fill(f File, from, size int64) error {
	for from < size {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-from)], from)
		if err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

const sparePrefix = "spare-"

// maxSpares bounds the files that wait for another life.
const maxSpares = 2

// makeSpare makes a file of zeros, of so many bytes, that is ready to become a segment.
// The caller holds fileMu.
func (j *Journal) makeSpare(size int64) error {
	j.made++
	name := fmt.Sprintf("%s%d-%d", sparePrefix, j.cfg.Now().UnixMicro(), j.made)
	tmp := j.path(name + ".tmp")
	f, err := j.fs.Create(tmp)
	if err != nil {
		return fmt.Errorf("make segment: %w", err)
	}
	err = fill(f, 0, size)
	if err == nil {
		err = f.Datasync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = j.fs.Rename(tmp, j.path(name))
	}
	if err != nil {
		_ = j.fs.Remove(tmp) // the first error is the one to tell
		return fmt.Errorf("make segment: %w", err)
	}
	j.addSpare(name)
	return nil
}

func (j *Journal) addSpare(name string) {
	j.spares = append(j.spares, name)
	j.spared.Store(int64(len(j.spares)))
}

// firstSize bounds the size of a journal's first segment: a new node serves once it has
// been written, and the next one is made meanwhile. The largest group fits.
const firstSize = dataStart + MaxGroup + 256<<10

// activate turns a spare file into the segment that begins at base. ErrNoSpace
// when there is none and none can be made; any other error leaves it open what
// is on the disk.
func (j *Journal) activate(base LSN) (*segment, error) {
	j.fileMu.Lock()
	defer j.fileMu.Unlock()
	if len(j.spares) == 0 {
		size := j.cfg.SegmentSize
		if base == 1 {
			size = min(size, firstSize)
		}
		if err := j.makeSpare(size); err != nil {
			if noSpace(err) {
				return nil, fmt.Errorf("%w: %w", ErrNoSpace, err)
			}
			return nil, err
		}
	}
	name := j.spares[len(j.spares)-1]
	f, err := j.fs.Open(j.path(name))
	if noSpace(err) {
		return nil, fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	size, err := f.Size()
	s := &segment{name: segmentName(base), file: f, base: base, last: base - 1, size: size, made: size, end: dataStart, keys: map[string]*keyIndex{}}
	if err == nil {
		_, err = f.WriteAt(j.header(base, s.size), 0)
	}
	if err == nil {
		err = f.Datasync()
	}
	if err == nil {
		err = j.fs.Rename(j.path(name), j.path(s.name))
	}
	if err == nil {
		err = j.fs.SyncDir(j.cfg.Dir)
	}
	if err != nil {
		_ = f.Close() // the first error is the one to tell
		return nil, fmt.Errorf("begin segment: %w", err)
	}
	j.spares = j.spares[:len(j.spares)-1]
	j.spared.Store(int64(len(j.spares)))
	return s, nil
}

// noSpace reports whether a file cannot be had now and perhaps later: for want
// of disk space or of descriptors.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// pin keeps a segment's file from being removed or reused.
func (j *Journal) pin(base LSN) (*segment, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.find(base)
	if s == nil || s.base != base {
		return nil, ErrGone
	}
	s.refs++
	return s, nil
}

// find returns the segment that lsn belongs to, or nil. The caller holds mu.
func (j *Journal) find(lsn LSN) *segment {
	for _, s := range slices.Backward(j.segments) {
		if s.base <= lsn {
			return s
		}
	}
	return nil
}

func (j *Journal) unpin(s *segment) {
	j.mu.Lock()
	s.refs--
	reap := s.refs == 0 && len(j.doomed)+len(j.replaced) > 0
	j.mu.Unlock()
	if reap {
		j.poke() // removing files is for Run
	}
}

// poke lets Run look for something to do.
func (j *Journal) poke() {
	select {
	case j.chores <- struct{}{}:
	default: // it is going to look anyway
	}
}
