package script

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a worker process, as the daemon sees it. It runs one job at a time.
type process struct {
	conn

	app    string // whose scripts it runs
	cmd    *exec.Cmd
	file   *os.File
	stderr said
	idle   time.Time     // since when
	used   atomic.Int64  // nanoseconds of the processor's time, when it was asked last
	ended  chan struct{} // closed when the process has gone and was waited for
}

// spawn starts a worker and waits until it is locked in, for the time within, or until
// ctx ends. It outlives ctx.
func spawn(ctx context.Context, executable, sandbox string, within time.Duration) (*process, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket pair: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "worker")
	_ = unix.SetNonblock(fds[0], true) // never fails for a descriptor that is open
	p := &process{file: os.NewFile(uintptr(fds[0]), "script worker"), ended: make(chan struct{})}
	p.rw = p.file
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), executable, WorkerArg) // #nosec G204 -- this binary
	p.cmd.ExtraFiles = []*os.File{theirs}
	p.cmd.Env = []string{"GOTRACEBACK=none", "GODEBUG=madvdontneed=1", "GORACE=atexit_sleep_ms=0", sandboxEnv + "=" + sandbox}
	p.cmd.Dir = "/"
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second // a process that inherited its stderr does not hold us up
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = p.cmd.Start()
	_ = theirs.Close() // while we hold it, the end of the worker would go unnoticed
	if err != nil {
		_ = p.file.Close()
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is told by what it was doing
		close(p.ended)
	}()
	defer context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })() // it may be gone
	_ = p.file.SetReadDeadline(time.Now().Add(within))                  // sockets can
	kind, _, err := p.receive()
	if err != nil || kind != frameReady {
		p.kill()
		return nil, fmt.Errorf("start a worker: it did not get ready: %s", p.stderr.words(err))
	}
	_ = p.file.SetReadDeadline(time.Time{})
	return p, nil
}

// ownTime is the processor time that the process has used; when it has gone, what is
// known of it.
func (p *process) ownTime() time.Duration {
	if d, err := timeOf(p.cmd.Process.Pid); err == nil {
		p.used.Store(int64(d))
	}
	return time.Duration(p.used.Load())
}

// gone reports whether the process has ended by itself, or by the kernel.
func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// kill ends the process and waits until nothing is left of it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may be gone already
	<-p.ended
	_ = p.file.Close()
}

// said keeps the beginning of what a process says on its standard error.
type said struct {
	mu sync.Mutex
	b  []byte
}

const saidKept = 2048

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b = append(s.b, p[:min(len(p), saidKept-len(s.b))]...)
	return len(p), nil
}

// words returns the first line that was said, or err when nothing was.
func (s *said) words(err error) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if line, _, _ := strings.Cut(string(s.b), "\n"); line != "" {
		return line
	}
	return fmt.Sprint(err)
}
