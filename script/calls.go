package script

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/budget"
)

// What one run makes the daemon hold. A worker keeps its further calls to itself until it
// has taken replies.
const (
	maxOpen    = 16      // calls whose replies the worker has not taken
	maxCalls   = 2 << 20 // bytes of their arguments
	maxReplies = 4 << 20 // bytes of their replies, on a board that has them
)

// calls are the calls of one run that are under way.
type calls struct {
	host    Host
	job     *Job
	log     *slog.Logger
	open    int // calls whose replies the worker has not got
	size    int // bytes of their arguments
	answers chan answer
	replies replyBytes
	group   sync.WaitGroup
}

// answer is a reply, and how many of the run's bytes it holds until the worker has it.
type answer struct {
	reply replyBody
	held  int
	size  int // bytes of the arguments of its call
}

// newCalls are those of a run that may hold so many bytes of replies, and draws them and
// what it holds of arguments from a lease.
func newCalls(host Host, job *Job, log *slog.Logger, replies int, lease budget.Lease) *calls {
	return &calls{host: host, job: job, log: log, answers: make(chan answer, maxOpen), replies: replyBytes{limit: replies, free: replies, lease: lease}}
}

// begin makes a call. It fails when the worker has more under way than it may.
func (c *calls) begin(ctx context.Context, b callBody) error {
	a := answer{reply: replyBody{ID: b.ID}, size: argumentBytes(b)}
	if c.open, c.size = c.open+1, c.size+a.size; c.open > maxOpen || c.size > maxCalls {
		return fmt.Errorf("%w: %d calls at once, with %d bytes", errFrame, c.open, c.size)
	}
	c.replies.asked(c.size)
	c.group.Go(func() {
		v, err := c.ask(ctx, picloud.ScriptCall{
			App: c.job.App, Script: c.job.Script, Module: b.Module, Method: b.Method, Args: b.Args, Cause: picloud.Cause{Hops: c.job.Hops, Incarnation: c.job.incarnation}, Anonymous: c.job.Anonymous,
			Reserve: func(ctx context.Context, bytes int) error { return c.replies.take(ctx, bytes, &a.held) },
		})
		switch {
		case err != nil:
			a.reply.Error = public(c.log, err)
		case len(v) > maxFrame/2:
			a.reply.Error = &callError{
				Code: string(picloud.CodeTooLarge), Type: "answer-too-large", Title: "The answer is too large for a script", Detail: "Ask for less at a time.",
			}
		default:
			a.reply.Value = v
		}
		c.replies.settle(len(a.reply.Value), &a.held)
		c.answers <- a // there is room for all that are open
	})
	return nil
}

// argumentBytes are those of the arguments of a call.
func argumentBytes(b callBody) (n int) {
	for _, arg := range b.Args {
		n += len(arg)
	}
	return n
}

// ask calls the host. One that panics has failed: a script ends no node.
func (c *calls) ask(ctx context.Context, call picloud.ScriptCall) (v json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s.%s panicked: %v\n%s", call.Module, call.Method, p, debug.Stack())
		}
	}()
	return c.host.Call(ctx, call)
}

// some waits for an answer and returns it with the others that are there, as
// many as fit into a frame. It fails when the run is cut off.
func (c *calls) some(ctx context.Context) ([]answer, error) {
	var list []answer
	size := 0
	took := func(a answer) {
		list, size = append(list, a), size+len(a.reply.Value)
		c.open, c.size = c.open-1, c.size-a.size
	}
	select {
	case a := <-c.answers:
		took(a)
	case <-ctx.Done():
		return nil, context.Cause(ctx) //nolint:wrapcheck // worded by the verdict
	}
	for c.open > 0 && size < maxFrame/4 {
		select {
		case a := <-c.answers:
			took(a)
			continue
		default:
		}
		break
	}
	c.replies.asked(c.size)
	return list, nil
}

// wait returns when no call is under way, and forgets what was not taken.
func (c *calls) wait() {
	c.group.Wait()
	c.replies.end()
}

// replyBytes are the bytes of replies that a run may make the daemon hold: taken before a
// large answer is made, or else when it is there, and given back when the worker has it.
type replyBytes struct {
	mu        sync.Mutex
	limit     int
	free      int            // below zero after answers that nothing was taken for
	arguments int            // bytes of the arguments of open calls
	waiting   []*replyWaiter // first come, first served
	lease     budget.Lease   // of all that is held
}

type replyWaiter struct {
	bytes int
	turn  chan struct{} // closed when they are taken
}

// take waits until bytes are free, and adds them to held. One that asks for more than
// there are gets all.
func (r *replyBytes) take(ctx context.Context, bytes int, held *int) error {
	w := &replyWaiter{bytes: min(bytes, r.limit), turn: make(chan struct{})}
	r.mu.Lock()
	r.waiting = append(r.waiting, w)
	r.next()
	r.mu.Unlock()
	select {
	case <-w.turn:
		*held += w.bytes
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.waiting, w); i >= 0 {
		r.waiting = slices.Delete(r.waiting, i, i+1)
	} else {
		r.free += w.bytes
	}
	r.next()
	return context.Cause(ctx) //nolint:wrapcheck // worded by the verdict
}

// settle makes held what an answer has come to, without waiting.
func (r *replyBytes) settle(bytes int, held *int) {
	r.give(*held - bytes)
	*held = bytes
}

// give returns bytes that were taken.
func (r *replyBytes) give(bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free += bytes
	r.next()
}

// next gives the first ones that wait their turn. The caller holds mu.
func (r *replyBytes) next() {
	for len(r.waiting) > 0 && r.waiting[0].bytes <= r.free {
		w := r.waiting[0]
		r.waiting, r.free = r.waiting[1:], r.free-w.bytes
		close(w.turn)
	}
	r.lease.Set(r.limit - r.free + r.arguments)
}

// asked notes how many bytes the arguments of open calls have.
func (r *replyBytes) asked(bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arguments = bytes
	r.next()
}

// end gives all back, when nothing is under way any more.
func (r *replyBytes) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lease.Release()
}
