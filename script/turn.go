package script

import (
	"context"
	"errors"
	"time"
)

// Runs wait for their turn in two lines: requests, whose senders wait for an answer, and
// deliveries to triggers, which can be tried later. Requests never have all places, so
// that what has happened is not kept waiting by requests; these wait for a bounded time, in
// bounded number, and not for a sender that has left.

const (
	maxWaiting    = 32  // requests of one app that wait for their turn
	maxAllWaiting = 128 // of all apps
	lookForSender = 100 * time.Millisecond
)

// places are for so many runs at once.
type places struct {
	all      chan struct{} // one for each run that is under way
	requests chan struct{} // one for each of them that a sender waits for
	waiting  int           // requests that have no place yet; guarded by Runner.mu
}

// newPlaces leaves one of n places to deliveries, if there are several.
func newPlaces(n int) places {
	return places{all: make(chan struct{}, n), requests: make(chan struct{}, max(n-1, 1))}
}

// appPlaces are those of one app, which is forgotten when it has no runs.
type appPlaces struct {
	places

	users int
}

var (
	errPatience = errors.New("it has waited for its turn for too long")
	errLeft     = errors.New("its sender has left")
)

// enter waits for the turn of a run. The caller calls leave.
func (r *Runner) enter(ctx context.Context, job *Job) (leave func(), fault *Error) {
	a, fault := r.line(job)
	if fault != nil {
		return nil, fault
	}
	want := []chan struct{}{a.all, r.places.all}
	var left <-chan time.Time
	if job.Sender != nil {
		want = []chan struct{}{a.requests, a.all, r.places.requests, r.places.all} // those of others last
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.cfg.Patience, errPatience)
		defer cancel()
		tick := time.NewTicker(lookForSender)
		defer tick.Stop()
		left = tick.C
	}
	var taken []chan struct{}
	leave = func() {
		for _, place := range taken {
			<-place
		}
		r.unline(a, job.App)
	}
	for _, place := range want {
		if err := wait(ctx, place, left, job); err != nil {
			r.begun(a, job)
			leave()
			if errors.Is(err, errStopping) {
				return nil, errStopping
			}
			return nil, failf(ReasonUnavailable, "all %d workers were busy: %v", cap(r.places.all), err)
		}
		taken = append(taken, place)
	}
	r.begun(a, job)
	return leave, nil
}

// wait takes a place. It fails when ctx ends, and when the sender is found to have left.
func wait(ctx context.Context, place chan struct{}, look <-chan time.Time, job *Job) error {
	for {
		select {
		case place <- struct{}{}:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx) //nolint:wrapcheck // worded by the caller
		case <-look:
			if !job.Sender() {
				return errLeft
			}
		}
	}
}

// line adds a run to those of its app. A request finds no room behind too many others.
func (r *Runner) line(job *Job) (*appPlaces, *Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.apps[job.App]
	if a == nil {
		a = &appPlaces{places: newPlaces(max(cap(r.places.all)-1, 1))}
	}
	if job.Sender != nil {
		switch {
		case a.waiting >= maxWaiting:
			return nil, failf(ReasonUnavailable, "%d requests to scripts of this app wait for their turn", a.waiting)
		case r.places.waiting >= maxAllWaiting:
			return nil, failf(ReasonUnavailable, "%d requests to scripts wait for their turn", r.places.waiting)
		}
		a.waiting++
		r.places.waiting++
	}
	a.users++
	r.apps[job.App] = a
	return a, nil
}

// begun notes that a run waits no longer.
func (r *Runner) begun(a *appPlaces, job *Job) {
	if job.Sender == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a.waiting--
	r.places.waiting--
}

func (r *Runner) unline(a *appPlaces, app string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.users--; a.users == 0 {
		delete(r.apps, app)
	}
}
