package hw

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// filePatience is how long a file of the kernel may take to be read: a driver behind it may
// have to ask its device.
const filePatience = 2 * time.Second

// maxFile is how much of a file is read, in bytes.
const maxFile = 64 << 10

// errNoAnswer is that the kernel does not return from a read.
var errNoAnswer = errors.New("the kernel has not answered for some seconds")

// kernelFiles reads files of the kernel, any of which may hang. A file is read once at a time,
// for all callers together: a file that hangs holds up one goroutine, and each caller for
// filePatience at most. It is safe for concurrent use.
type kernelFiles struct {
	mu      sync.Mutex // guards what follows
	reading map[string]*fileRead
}

// fileRead is a file that is being read.
type fileRead struct {
	began time.Time
	done  chan struct{} // closed when the rest is set
	text  []byte
	err   error
}

// read returns what a file holds, up to maxFile bytes of it, or errNoAnswer.
func (f *kernelFiles) read(name string) ([]byte, error) {
	f.mu.Lock()
	r := f.reading[name]
	if r == nil {
		if f.reading == nil {
			f.reading = map[string]*fileRead{}
		}
		r = &fileRead{began: time.Now(), done: make(chan struct{})}
		f.reading[name] = r
		go func() {
			r.text, r.err = readStart(name)
			f.mu.Lock()
			delete(f.reading, name)
			f.mu.Unlock()
			close(r.done)
		}()
	}
	f.mu.Unlock()
	timer := time.NewTimer(max(0, filePatience-time.Since(r.began)))
	defer timer.Stop()
	select {
	case <-r.done:
		return r.text, r.err
	case <-timer.C:
		return nil, errNoAnswer
	}
}

// readStart reads the start of a file.
func readStart(name string) ([]byte, error) {
	f, err := os.Open(name) // #nosec G304 -- a file of the kernel
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, maxFile))
}
