package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// LSN is a record's place in the log: 1 for the first ever, rising by one. A
// gap is only where recovery counted a loss.
type LSN uint64

// Record is one entry. Key, Seq and At belong to the caller; the journal
// indexes them.
type Record struct {
	LSN  LSN    // set by Append
	Kind uint8  // the caller's, but for KindLost, KindThinned and KindSkipped
	More bool   // the next record belongs to the same unit: all of it survives, or none
	Seq  uint64 // the caller's order, rising with LSN within a key
	At   int64  // the caller's time, microseconds since 1970
	Key  []byte // what the index groups by; empty: not indexed; at most MaxKey bytes
	Body []byte
}

// KindLost marks records that recovery could not save. Its body is two
// big-endian uint64: the first and the last LSN that are lost.
const KindLost uint8 = 255

// Limits.
const (
	MaxKey             = 512
	MaxGroup           = 2 << 20 // encoded bytes of one Append, and of what may be unsynced
	DefaultSegmentSize = 8 << 20
	minSegmentSize     = 64 << 10
)

// Errors of a working journal. All but ErrFailed leave it unharmed.
var (
	ErrTooLarge = errors.New("records are larger than one group may be")
	ErrNoSpace  = errors.New("no space for another segment")
	ErrFailed   = errors.New("journal has failed")
	ErrGone     = errors.New("records were dropped")
	ErrVersion  = errors.New("journal was written by a newer version")
)

// DamageError says that something that was written cannot be read back.
type DamageError struct {
	File string
	LSN  LSN
}

// Error names the file and the record.
func (e *DamageError) Error() string {
	return fmt.Sprintf("record %d in %s is damaged", e.LSN, e.File)
}

// Config configures a Journal. Zero values mean the defaults.
type Config struct {
	Dir         string // made when missing
	FS          FS     // nil: the operating system's
	SegmentSize int64  // default 8 MiB, at least 64 KiB; MaxGroup is then at most a quarter of it
	ScanFrom    LSN    // sealed segments that end below it are trusted to their footer
	Copy        bool   // the files are a Snapshot's copy: the newest is cut off behind its records, and there is no file end
	Peeked      bool   // Peek has just read the files: the kernel need not read them from the disk again

	// Found is called by Open with what it has found damaged, before it changes the files
	// for that: an Open that is cut off then finds the damage no more. An error ends it.
	// nil: not.
	Found func(damage ...Damage) error

	Now    func() time.Time // for names and headers
	Logger *slog.Logger     // nil: discard
}

// Recovery is what Open found.
type Recovery struct {
	ID        uint64   // random identity, made with the first segment
	Fresh     bool     // there was nothing to go by; a new journal was begun
	Oldest    LSN      // what the oldest file begins with
	First     LSN      // oldest record kept; 0: none
	Last      LSN      // newest record kept; 0: none ever
	TornBytes int64    // bytes cut from the tail that were never acknowledged
	End       End      // what is known of the end; call Skip unless it is proven
	Reserved  LSN      // no LSN above it was ever given; 0: unknown
	Damage    []Damage // what was set aside; empty on a healthy disk
}

// Damage is one loss.
type Damage struct {
	File        string
	SetAside    string // where the damaged file is kept; empty: there was none
	First, Last LSN    // what is lost, at least; Last 0: unknown
	Reason      string
}

// Journal is an open log. One goroutine appends and syncs; everything else may
// be called by any.
type Journal struct {
	cfg      Config
	fs       FS
	log      *slog.Logger
	id       uint64
	maxGroup int64

	// The writer's own.
	buf     []byte
	active  *segment
	tail    int64 // end of the records in the active segment
	footer  int64 // upper bound of its footer
	durable durable
	closed  bool

	endMark  File // nil: not opened for writing yet
	end      end  // what the file end says
	ended    End
	complete bool // the newest segment that recovery found was
	unproven bool // nothing has been skipped yet
	skipTo   LSN  // for want of space this is still to be skipped; 0: nothing

	written  atomic.Uint64
	synced   atomic.Uint64
	unsynced atomic.Int64
	failed   atomic.Pointer[error]

	mu       sync.Mutex // guards what follows; never held across I/O
	segments []*segment // oldest first; the last is the active one
	syncOff  int64      // end of what is synced in the active segment
	syncLSN  LSN        // the newest that is synced; Synced says the same without the lock
	wake     chan struct{}
	unsealed []*segment // complete, footer not yet written
	doomed   []*segment // dropped, oldest first, perhaps still pinned
	replaced []*segment // thinned, perhaps still pinned
	decoded  entryCache

	fileMu sync.Mutex    // held while files are made or removed; taken before mu
	spares []string      // files ready for another life, under fileMu
	spared atomic.Int64  // how many
	made   int           // files made, for their names, under fileMu
	chores chan struct{} // has room for one: there is something for Run to do
}

// Written returns the newest appended record.
func (j *Journal) Written() LSN { return LSN(j.written.Load()) }

// Synced returns the newest durable record.
func (j *Journal) Synced() LSN { return LSN(j.synced.Load()) }

// Unsynced returns how many bytes were appended since the last Sync.
func (j *Journal) Unsynced() int64 { return j.unsynced.Load() }

// GroupLimit returns how many encoded bytes one Append takes: MaxGroup, or less
// with small segments.
func (j *Journal) GroupLimit() int64 { return j.maxGroup }

// Wait returns when a record after the given one is durable, or with ctx's
// cause.
func (j *Journal) Wait(ctx context.Context, after LSN) error {
	for {
		j.mu.Lock()
		wake := j.wake
		j.mu.Unlock()
		if j.Synced() > after {
			return nil
		}
		if err := j.err(); err != nil {
			return err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// wakeAll lets every Wait look again.
func (j *Journal) wakeAll() {
	j.mu.Lock()
	defer j.mu.Unlock()
	close(j.wake)
	j.wake = make(chan struct{})
}

func (j *Journal) err() error {
	if p := j.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// fail makes the journal refuse everything from now on: what is on the disk is
// uncertain, and trying again would hide that.
func (j *Journal) fail(cause error) error {
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	if !j.failed.CompareAndSwap(nil, &err) {
		return j.err()
	}
	j.wakeAll()
	return err
}

// Segment describes one file.
type Segment struct {
	Base, Last LSN   // Last is Base-1 while it is empty
	Bytes      int64 // on the disk
	Sealed     bool
}

// Segments lists the files, oldest first.
func (j *Journal) Segments() []Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]Segment, len(j.segments))
	for i, s := range j.segments {
		out[i] = Segment{Base: s.base, Last: s.last, Bytes: s.size, Sealed: i < len(j.segments)-1}
	}
	return out
}

// SizeOnDisk returns the bytes of all segments, spare ones and dropped ones that
// are still read included.
func (j *Journal) SizeOnDisk() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := j.spared.Load() * j.cfg.SegmentSize
	for _, s := range j.segments {
		n += s.size
	}
	for _, s := range j.doomed {
		n += s.size
	}
	return n
}

// Close syncs and closes everything. Readers and snapshots must be closed
// before. Nothing works afterwards.
func (j *Journal) Close() error {
	if j.closed {
		return nil
	}
	j.closed = true
	var err error
	if j.err() == nil {
		err = j.Sync()
		j.writeFooters()
		if err == nil {
			j.closeEnd()
		}
	}
	if j.endMark != nil {
		_ = j.endMark.Close() // what was written is synced
	}
	_ = j.fail(errors.New("it is closed")) // on purpose: from now on everything fails
	j.fileMu.Lock()
	defer j.fileMu.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range slices.Concat(j.segments, j.doomed, j.replaced) {
		if cerr := s.file.Close(); err == nil {
			err = cerr
		}
	}
	return err
}
