package httpapi

import (
	"bytes"
	"context"
	"net"
	"time"

	"github.com/picloud/picloud/budget"
	"github.com/picloud/picloud/script"
)

// What requests make the node hold is drawn from its budget: bodies before they are read,
// large answers before they are made, until they have left. What a script answers to is
// drawn in input.go.

const (
	// unmetered is how much of a body, and of an answer, belongs to the connection: its
	// number is bounded, and small requests draw nothing.
	unmetered = 4 << 10

	// pageMemory is reserved for an answer that may be large: the data of a page, or of
	// a value, and its encoding.
	pageMemory = 1 << 20

	// outputMemory is reserved for what a script answers. It may be more, up to a MiB: as
	// many runs as there are workers then overdraw the share.
	outputMemory = 64 << 10

	// memoryPatience is how long a request waits for room before it is refused.
	memoryPatience = 2 * time.Second
)

// lease returns a lease in the name of the caller. Requests over the operator's socket have
// a share of their own.
func (r *request) lease(h budget.Holder) budget.Lease {
	if _, local := r.Conn().(*net.UnixConn); local {
		return r.s.cfg.Budget.Lease(budget.Operator, budget.Party{})
	}
	return r.s.cfg.Budget.Lease(h, budget.PartyOf(r.param("app"), r.s.address(r.RequestCtx)))
}

// await draws bytes in the name of the caller, and waits a moment for room.
func (r *request) await(h budget.Holder, bytes int) (budget.Lease, error) {
	l := r.lease(h)
	ctx, cancel := context.WithTimeout(r.patience(), memoryPatience)
	defer cancel()
	return l, l.Wait(ctx, bytes)
}

// reserve draws the memory of an answer that may be large, before it is made.
func (r *request) reserve() (err error) {
	r.answer, err = r.await(budget.Answers, pageMemory)
	return err
}

// reserveOutput draws the memory of what a script may answer, when it is the turn of its
// run. It does not wait: the run has a worker's place.
func (r *request) reserveOutput(*script.Job) error {
	r.answer = r.lease(budget.Answers)
	return r.answer.Resize(outputMemory)
}

// shared answers with bytes that all answers share, and that no request holds.
func (r *request) shared(body []byte) { r.SetBodyStream(bytes.NewReader(body), len(body)) }

// settle gives back the memory of a request that has been answered, but for the answer,
// which holds its own until it has left. Answers are raw bodies: those that the HTTP library
// copies into buffers of its own would be used again.
func (r *request) settle() {
	if r.body.Bytes() > 0 {
		r.Request.SetBodyRaw(nil)
		r.body.Release()
	}
	r.input.Release()
	response := &r.Response
	if response.IsBodyStream() || len(response.Body()) <= unmetered {
		r.answer.Release()
		return
	}
	body := response.Body()
	if r.answer.Bytes() == 0 {
		r.answer = r.lease(budget.Answers)
	}
	r.answer.Set(len(body))
	response.SetBodyStream(&leaving{Reader: bytes.NewReader(body), lease: r.answer}, len(body))
	r.answer = budget.Lease{}
}

// leaving is an answer that is being sent.
type leaving struct {
	*bytes.Reader

	lease budget.Lease
}

// Close implements io.Closer: the answer has left, or its connection has ended.
func (l *leaving) Close() error {
	l.lease.Release()
	return nil
}
