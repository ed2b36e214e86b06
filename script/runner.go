package script

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/budget"
)

// Config says how scripts are run.
type Config struct {
	Host Host
	// Record, if not nil, keeps the record of a run and returns its id. It is not
	// called when the node could not run the script.
	Record func(picloud.Run) (id string)
	Limits Limits // of a run that names none; what is zero gets its default

	// Workers is how many runs there may be at once, each in a process of its own;
	// default 4. One app gets all but one of them at most, so that another always
	// gets its turn.
	Workers int
	// Idle is how long a worker stays when it has nothing to do; default 1 min.
	Idle time.Duration
	// Patience is how long a request waits for its turn; default 10 s.
	Patience time.Duration
	// StartTimeout is how long a worker may take to be ready, on a board that is slow or busy
	// with something else; default 1 min. It is no part of the limits of a run.
	StartTimeout time.Duration
	// NoSandbox leaves the kernel's filter off, for machines that cannot load one.
	NoSandbox bool
	// Executable is the binary that calls Work when its first argument is
	// WorkerArg; default: the running one.
	Executable string

	Budget *budget.Budget // of what calls hold; nil: of the default size
	Logger *slog.Logger   // nil: none
}

// Runner runs scripts in worker processes. It is safe for concurrent use.
type Runner struct {
	cfg     Config
	sandbox string
	replies int // bytes that one run may hold
	log     *slog.Logger

	mu     sync.Mutex
	closed bool
	places places
	apps   map[string]*appPlaces
	runs   map[*Job]context.CancelCauseFunc // also those that wait for their turn
	idle   []*process                       // longest idle first
	spare  *process                         // it has run nothing yet; nil: none

	respawn chan struct{} // has room for one: a spare is wanted
}

// New returns a Runner, which starts processes as they are needed and stops them
// while Run runs.
func New(cfg Config) *Runner {
	cfg.Limits = cfg.Limits.or(DefaultLimits())
	if cfg.Workers == 0 {
		cfg.Workers = 4
	}
	if cfg.Idle == 0 {
		cfg.Idle = time.Minute
	}
	if cfg.Patience == 0 {
		cfg.Patience = 10 * time.Second
	}
	if cfg.StartTimeout == 0 {
		cfg.StartTimeout = time.Minute
	}
	if cfg.Budget == nil {
		cfg.Budget = budget.New(0, nil)
	}
	if cfg.Executable == "" {
		cfg.Executable = "/proc/self/exe"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Runner{cfg: cfg, log: cfg.Logger.With(slog.String("component", "script")), places: newPlaces(cfg.Workers), apps: make(map[string]*appPlaces), runs: make(map[*Job]context.CancelCauseFunc), respawn: make(chan struct{}, 1), replies: min(cfg.Budget.Share(budget.Replies)/cfg.Workers, maxReplies)}
	if cfg.NoSandbox {
		r.sandbox = sandboxOff
	}
	return r
}

// Run stops workers that have nothing to do, and keeps one ready for jobs without
// one, until ctx ends; then it ends all runs and workers. Jobs asked for later are
// refused.
func (r *Runner) Run(ctx context.Context) error {
	tick := time.NewTicker(max(r.cfg.Idle/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			r.stopIdle(func(p *process) bool { return now.Sub(p.idle) >= r.cfg.Idle })
		case <-r.respawn:
			r.prepare(ctx)
		case <-ctx.Done():
			r.mu.Lock()
			r.closed = true
			for _, cut := range r.runs {
				cut(errStopping)
			}
			if r.spare != nil {
				r.idle, r.spare = append(r.idle, r.spare), nil
			}
			r.mu.Unlock()
			r.stopIdle(func(*process) bool { return true })
			for range cap(r.places.all) { // the last run has ended when all are ours
				r.places.all <- struct{}{}
			}
			return nil
		}
	}
}

// Workers returns how many idle workers there are and how many runs are under
// way.
func (r *Runner) Workers() (idle, running int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.idle), len(r.places.all)
}

// stopIdle ends the idle workers that which says.
func (r *Runner) stopIdle(which func(*process) bool) {
	r.mu.Lock()
	var stop, stay []*process
	for _, p := range r.idle {
		if which(p) {
			stop = append(stop, p)
		} else {
			stay = append(stay, p)
		}
	}
	r.idle = stay
	r.mu.Unlock()
	for _, p := range stop {
		p.kill()
	}
}

var errStopping = &Error{Reason: ReasonUnavailable, Message: "the node is stopping"}

// prepare starts the spare worker, so that no job waits for one to start:
// that takes a small board a good part of a second.
func (r *Runner) prepare(ctx context.Context) {
	r.mu.Lock()
	there := r.spare != nil
	r.mu.Unlock()
	if there {
		return
	}
	p, err := spawn(ctx, r.cfg.Executable, r.sandbox, r.cfg.StartTimeout)
	if err != nil {
		r.log.Debug("no spare worker could be started", slog.Any("err", err)) // who needs one hears of it
		return
	}
	r.mu.Lock()
	r.spare = p
	r.mu.Unlock()
}

// worker returns a worker that may run scripts of app: one that has done so, or one
// that has run nothing.
func (r *Runner) worker(ctx context.Context, app string) (*process, error) {
	r.stopIdle((*process).gone) // for want of memory, say
	r.mu.Lock()
	found := -1
	for i, p := range r.idle {
		if p.app == app {
			found = i
		}
	}
	var p, surplus *process
	switch {
	case r.closed:
		r.mu.Unlock()
		return nil, errStopping
	case found >= 0:
		p = r.idle[found]
		r.idle = append(r.idle[:found], r.idle[found+1:]...)
	default:
		if len(r.idle)+len(r.places.all) > cap(r.places.all) {
			surplus, r.idle = r.idle[0], r.idle[1:] // it belongs to another app
		}
		p, r.spare = r.spare, nil
	}
	if r.spare == nil {
		select {
		case r.respawn <- struct{}{}:
		default:
		}
	}
	r.mu.Unlock()
	if surplus != nil {
		surplus.kill()
	}
	if p != nil && p.gone() {
		p.kill()
		p = nil
	}
	if p == nil {
		var err error
		if p, err = spawn(ctx, r.cfg.Executable, r.sandbox, r.cfg.StartTimeout); err != nil {
			return nil, err
		}
	}
	p.app = app
	return p, nil
}

// keep takes back a worker that ended its job in good order.
func (r *Runner) keep(p *process) {
	p.idle = time.Now()
	p.rest()
	r.mu.Lock()
	if !r.closed {
		r.idle = append(r.idle, p)
		p = nil
	}
	r.mu.Unlock()
	if p != nil {
		p.kill()
	}
}

// Do runs a job and returns how it went. The error, if any, is an *Error. When
// ctx ends the run is cut off, with ReasonUnavailable.
func (r *Runner) Do(ctx context.Context, job Job) (Result, error) {
	job.Limits = job.Limits.or(r.cfg.Limits)
	if job.Export == "" {
		job.Export = "default"
	}
	job.incarnation = r.cfg.Host.Incarnation(job.App)
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	if !r.follow(&job, cut) {
		return Result{Started: time.Now()}, errStopping
	}
	defer r.forget(&job)
	res, fault := r.do(ctx, &job)
	res.RunID = r.record(&job, &res, fault)
	if fault != nil {
		return res, fault
	}
	return res, nil
}

// record keeps the record of a run that has ended; fault is nil when it ended
// well.
func (r *Runner) record(job *Job, res *Result, fault *Error) (id string) {
	if r.cfg.Record == nil || job.check != nil || (fault != nil && fault.Unavailable()) {
		return ""
	}
	run := picloud.Run{
		App: job.App, Script: job.Script, Version: res.Version, Cause: job.Cause, Delivery: job.Delivery, Attempt: job.Attempt,
		StartedAt: res.Started.UTC(), Duration: res.Duration, Outcome: picloud.RunOK, Lines: res.Lines, Truncated: res.Truncated, Incarnation: job.incarnation,
	}
	if fault != nil {
		run.Outcome, run.Error, run.Stack = string(fault.Reason), fault.Error(), fault.Stack
	}
	return r.cfg.Record(run)
}

func (r *Runner) do(ctx context.Context, job *Job) (Result, *Error) {
	main, err := r.source(job)
	if err != nil {
		return Result{Started: time.Now()}, missing(job.Script, err)
	}
	leave, fault := r.enter(ctx, job)
	if fault != nil {
		return Result{Version: main.Version, Started: time.Now()}, fault
	}
	defer leave()
	if job.Begin != nil {
		if err := job.Begin(job); err != nil {
			return Result{Version: main.Version, Started: time.Now()}, refused(err)
		}
	}
	p, err := r.worker(ctx, job.App)
	if err != nil {
		var public *Error
		if !errors.As(err, &public) {
			r.log.Error("a worker for scripts could not be started", slog.Any("err", err))
			public = failf(ReasonNoWorker, "no worker for scripts could be started; the node's log says why")
		}
		return Result{Version: main.Version, Started: time.Now()}, public
	}
	t := &talk{r: r, p: p, job: *job, res: Result{Version: main.Version, Started: time.Now()}}
	healthy, fault := t.run(ctx, main)
	t.res.Duration = time.Since(t.res.Started)
	if healthy {
		r.keep(p)
	} else {
		p.kill()
	}
	return t.res, fault
}

// follow lets a run be cut off when the runner stops. It reports false when that
// has stopped.
func (r *Runner) follow(job *Job, cut context.CancelCauseFunc) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.runs[job] = cut
	}
	return !r.closed
}

// EndApp ends the runs of an app that was deleted. It does not wait for them.
func (r *Runner) EndApp(app string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for job, cut := range r.runs {
		if job.App == app {
			cut(errAppDeleted)
		}
	}
}

var errAppDeleted = errors.New("its app was deleted")

func (r *Runner) forget(job *Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.runs, job)
}

// Check returns nil when source can be read as a script, or an *Error.
func (r *Runner) Check(ctx context.Context, app, name, source string) error {
	_, err := r.Do(ctx, Job{App: app, Script: name, check: &source})
	return err
}

// source returns the script that a job is about.
func (r *Runner) source(job *Job) (picloud.Script, error) {
	if job.check != nil {
		return picloud.Script{Source: *job.check}, nil
	}
	return r.cfg.Host.Module(job.App, job.Script)
}

// refused is why a run did not begin although it was its turn.
func refused(err error) *Error {
	if fault, ok := errors.AsType[*Error](err); ok {
		return fault
	}
	return failf(ReasonUnavailable, "%v", err)
}

func missing(script string, err error) *Error {
	return failf(ReasonMissing, "script %q: %v", script, err)
}

// describe completes what a handler may know by what the runner knows.
func describe(job Job, version uint64) ([]byte, error) {
	own, err := picloud.EncodeJSON(about{App: job.App, Script: job.Script, Version: version})
	if err != nil {
		return nil, fmt.Errorf("the context of the run: %w", err)
	}
	more := bytes.TrimSpace(job.Context)
	switch {
	case len(more) == 0:
		return own, nil
	case more[0] != '{' || !json.Valid(more):
		return nil, errors.New("the context of the run is no JSON object")
	case len(bytes.TrimSpace(more[1:len(more)-1])) == 0:
		return own, nil
	}
	// Of two fields of one name the last one counts: the runner's.
	return append(append(bytes.Clone(more[:len(more)-1]), ','), own[1:]...), nil
}

type about struct {
	App     string `json:"app"`
	Script  string `json:"script"`
	Version uint64 `json:"version"`
}
