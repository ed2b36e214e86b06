package script

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// WorkerArg is the argument with which the binary is executed to be a worker.
// A program that sees it as the first one calls Work and nothing else.
const WorkerArg = "script-worker"

// workerFD is where a worker finds its end of the socket pair.
const workerFD = 3

// worker is the side of the frames that runs scripts.
type worker struct{ conn }

// Work is the life of a worker process: it locks itself in, runs job after job,
// and returns the exit code of the process when the daemon has gone.
func Work() int {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(50)
	w := &worker{conn{rw: socket(workerFD)}}
	if err := lockIn(os.Getenv(sandboxEnv) != sandboxOff); err != nil {
		fmt.Fprintln(os.Stderr, "lock the worker in:", err)
		return 1
	}
	if err := w.run(); !errors.Is(err, io.EOF) { // the daemon has gone
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// run runs jobs until that fails.
func (w *worker) run() error {
	e, err := newEngine(w, false)
	if err != nil {
		return err
	}
	if err := w.send(frameReady, nil); err != nil {
		return err
	}
	for {
		body, err := w.expect(frameJob)
		if err != nil {
			return err
		}
		job, err := parse[jobBody](body)
		if err != nil {
			return err
		}
		if err := w.do(e, &job); err != nil {
			return err
		}
		// The next one is made now, when no job waits for it, and most likely runs
		// the same script.
		if e, err = newEngine(w, e.wants); err != nil {
			return err
		}
	}
}

// do runs one job and tells its end.
func (w *worker) do(e *engine, job *jobBody) error {
	for e.start(job); e.done == nil; {
		if err := w.send(frameCalls, e.give()); err != nil {
			return err
		}
		body, err := w.expect(frameReplies)
		if err != nil {
			return err
		}
		replies, err := parse[[]replyBody](body)
		if err != nil {
			return err
		}
		e.reply(replies)
	}
	e.done.Error.clip()
	if err := w.send(frameDone, e.done); err != nil {
		return err
	}
	return e.close()
}

func (w *worker) expect(kind frameKind) ([]byte, error) {
	k, body, err := w.receive()
	if err == nil && k != kind {
		err = fmt.Errorf("%w: kind %d where %d was due", errFrame, k, kind)
	}
	return body, err
}

func (w *worker) need(script string) (string, error) {
	if err := w.send(frameNeed, script); err != nil {
		return "", err
	}
	body, err := w.expect(frameModule)
	if err != nil {
		return "", err
	}
	m, err := parse[moduleBody](body)
	if err != nil {
		return "", err
	}
	if m.Error != nil {
		return "", fmt.Errorf("cannot import %q: %s", appScheme+script, m.Error.Title)
	}
	return m.Source, nil
}

func (w *worker) line(l lineBody) {
	if err := w.send(frameLine, l); err != nil {
		os.Exit(1) // the daemon has gone, and nothing can be told
	}
}

// socket reads and writes a descriptor without the runtime's poller, whose
// system calls a worker can do without.
type socket int

func (s socket) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(s), p)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("read: %w", err)
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (s socket) Write(p []byte) (int, error) {
	for written := 0; ; {
		n, err := unix.Write(int(s), p[written:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return written, fmt.Errorf("write: %w", err)
		}
		if written += n; written == len(p) {
			return written, nil
		}
	}
}
