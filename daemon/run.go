package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/picloud/picloud/budget"
)

// Build says what binary this is.
type Build struct{ Version, Commit string }

// Options are what Run needs beside the configuration.
type Options struct {
	Build  Build
	Log    io.Writer              // where the log goes outside systemd; nil: stderr
	Reload func() (Config, error) // reads the configuration again; nil: never
	Watch  []string               // files whose change asks for a reload
	Serves func(addr string)      // called with the HTTP address when the node serves; may be nil
}

// Deadlines of the stages of stopping, together below systemd's patience.
const (
	stopRequests = 5 * time.Second
	stopStreams  = 5 * time.Second
	stopSpool    = 10 * time.Second
	stopBoard    = 5 * time.Second
	stopStore    = 40 * time.Second
)

// life is where the node is between starting and stopping.
type life struct {
	serving atomic.Bool
	config  atomic.Pointer[Config] // the one in force
	level   slog.LevelVar
	fault   atomic.Pointer[string] // of the last reload; nil: there was none
	applied func()                 // called after a reload; may be nil
}

// apply puts into force what does not need a restart.
func (l *life) apply(cfg Config) {
	l.config.Store(&cfg)
	l.level.Set(cfg.LogLevel)
	if l.applied != nil {
		l.applied()
	}
}

var errNotServing = errors.New("the node is starting or stopping")

func (l *life) ready() error {
	if !l.serving.Load() {
		return errNotServing
	}
	return nil
}

// Run runs a node until ctx ends or a part of it fails, and returns when
// everything has ended. Parts start from the bottom up and stop from the top
// down: no new requests, streams told and closed, the spool, the committer
// emptied, the journal closed last.
func Run(ctx context.Context, cfg Config, opt Options) error {
	defer outlivePipes()()
	boundHeap()
	l := new(life)
	l.apply(cfg)
	if opt.Log == nil {
		opt.Log = os.Stderr
	}
	log := newLogger(opt.Log, cfg.LogFormat, &l.level)
	if err := enoughFiles(); err != nil {
		return err
	}
	reload := newReloader(cfg, opt, log.With(slog.String("component", "daemon"))) // a start takes long, and SIGHUP must not end it
	started := extendStart(extendEvery, workOn(cfg.Data))
	m, err := wire(cfg, opt.Build, log, l) //nolint:contextcheck // what is announced while stopping must not end with the node
	if err != nil {
		started()
		return err
	}
	log = log.With(slog.String("component", "daemon"))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	storePart := start(ctx, cancel, "store", m.store.Run)
	hubPart := start(ctx, cancel, "realtime", m.hub.Run)
	boardPart := start(ctx, cancel, "hw", m.board.Run) // whether it or a script is first, an output begins in its state for the start
	parts := []*part{start(ctx, cancel, "stats", m.stats.Run), start(ctx, cancel, "monitor", m.monitor.Run), start(ctx, cancel, "heap", giveBack)}
	if !m.store.Health().ReadOnly {
		parts = append(parts, start(ctx, cancel, "dispatch", m.owed.Run))
	}
	parts = append(parts, start(ctx, cancel, "script", m.scripts.Run), start(ctx, cancel, "sensors", m.sensors.Run))
	if m.apps != nil {
		parts = append(parts, start(ctx, cancel, "provision", m.apps.Run))
	}
	if m.sweeper != nil {
		parts = append(parts, start(ctx, cancel, "sweeper", m.sweeper.Run))
	}
	if m.scrub != nil {
		parts = append(parts, start(ctx, cancel, "scrub", m.scrub.Run))
	}
	if m.spool != nil {
		parts = append(parts, start(ctx, cancel, "spool", m.spool.Run))
	}
	if m.central != nil {
		l.applied = m.central.Poke
		parts = append(parts, start(ctx, cancel, "sync", m.central.Run))
		if m.central.cluster != nil {
			parts = append(parts, start(ctx, cancel, "cluster", m.central.cluster.Run))
		}
	}
	debug.FreeOSMemory() // recovery has read whole files, which the node never needs again
	l.serving.Store(true)
	var servers []*part
	for _, ln := range m.tcp {
		servers = append(servers, start(ctx, cancel, "http", func(context.Context) error { return m.api.Serve(ln) }))
	}
	for _, ln := range m.unix {
		servers = append(servers, start(ctx, cancel, "socket", func(context.Context) error { return m.api.ServeLocal(ln) }))
	}
	servers = append(servers, m.startTLS(ctx, cancel, log)...)
	addr, status := m.tcp[0].Addr().String(), m.status(l)
	log.Info("serving", slog.String("listen", addr), slog.String("socket", m.unix[0].Addr().String()),
		slog.String("data", cfg.Data), slog.String("node", m.store.Node().ID), slog.String("version", opt.Build.Version))
	started()
	notify(saysReady, saysStatus(status))
	told := []*part{ // that talk to systemd
		start(ctx, cancel, "reload", func(ctx context.Context) error { return reload.Run(ctx, cfg, l) }),
		start(ctx, cancel, "pulse", m.pulse.Run),
		start(ctx, cancel, "status", func(ctx context.Context) error { return m.tell(ctx, l, status) }),
	}
	if opt.Serves != nil {
		opt.Serves(addr)
	}

	<-ctx.Done()
	l.serving.Store(false)
	notify(saysStopping, saysStatus("Stopping"))
	log.Info("stopping", slog.String("cause", context.Cause(ctx).Error()))
	var faults []error
	for _, p := range told {
		faults = append(faults, p.stop(stopRequests))
	}
	faults = append(faults, hubPart.stop(stopStreams)) // told and closed: nothing holds the server back
	shut, done := context.WithTimeout(context.WithoutCancel(ctx), stopRequests)
	if err := m.api.Shutdown(shut); err != nil {
		log.Warn("requests were cut off", slog.Any("err", err))
	}
	done()
	for _, p := range servers {
		faults = append(faults, p.stop(stopRequests))
	}
	for _, p := range parts {
		faults = append(faults, p.stop(stopSpool))
	}
	faults = append(faults, boardPart.stop(stopBoard), storePart.stop(stopStore), m.store.Close())
	err = errors.Join(faults...)
	if err == nil {
		log.Info("stopped")
	}
	return err
}

// minFiles is how many files an idle node has open, with room for a few
// connections.
const minFiles = 64

// enoughFiles returns an error when the process may open too few files to serve.
func enoughFiles() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur >= minFiles {
		return nil //nolint:nilerr // opening them will tell
	}
	return fmt.Errorf("only %d files may be open, which is too few to serve; nothing was changed; allow at least 1024: 'ulimit -n', or LimitNOFILE= in the unit", limit.Cur)
}

// boundHeap lets the garbage collector work harder when the heap comes near to half of the
// memory, unless the variable GOMEMLIMIT says otherwise: garbage is what the budget of
// memory does not count.
func boundHeap() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(min(budget.Memory()/2, math.MaxInt64))) // #nosec G115 -- bounded
	}
}

// outlivePipes keeps the process alive when the reader of its log has gone: a write to
// stdout or stderr fails then, which loses the line, instead of raising a signal that
// ends the node. It returns the function that undoes that. Processes that the node starts
// are not concerned, as they would be by an ignored signal.
func outlivePipes() func() {
	signals := make(chan os.Signal, 1) // never read: the signal has been taken, which is enough
	signal.Notify(signals, syscall.SIGPIPE)
	return func() { signal.Stop(signals) }
}

// part is a running part of the machine.
type part struct {
	name   string
	cancel context.CancelFunc
	done   chan error
}

// start runs a part, which ends when it is stopped, and not with the node's
// context. When it fails by itself the whole node stops.
func start(node context.Context, cancel context.CancelCauseFunc, name string, run func(context.Context) error) *part {
	ctx, stop := context.WithCancel(context.WithoutCancel(node))
	p := &part{name: name, cancel: stop, done: make(chan error, 1)}
	go func() {
		err := run(ctx)
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
			cancel(err)
		}
		p.done <- err
	}()
	return p
}

// stop ends a part and waits for it, up to a limit.
func (p *part) stop(limit time.Duration) error {
	p.cancel()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-p.done:
		return err
	case <-timer.C:
		return fmt.Errorf("%s did not stop within %v", p.name, limit)
	}
}

// signalError is why a node stops in the ordinary way.
type signalError struct{ os.Signal }

func (e signalError) Error() string { return "signal: " + e.String() }

// WithSignals returns a context that ends with SIGTERM or SIGINT. A second
// signal ends the process at once: the journal is made for that.
func WithSignals(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		select {
		case s := <-signals:
			cancel(signalError{s})
		case <-ctx.Done():
			return
		}
		<-signals
		os.Exit(1)
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}
