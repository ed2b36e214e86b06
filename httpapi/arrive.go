package httpapi

import (
	"errors"
	"io"
	"net"
	"time"
)

// How bodies of requests arrive. They are read here and not by the HTTP library,
// since that would either hold files in memory or hide what goes wrong.

// readBody reads the body of a request that is no file, up to a limit. The request
// is there as a whole then.
func (r *request) readBody(limit int) error {
	in := r.RequestBodyStream()
	if in == nil {
		return r.begin()
	}
	var body []byte
	var err error
	switch n := r.Request.Header.ContentLength(); {
	case n > limit:
		return errTooLarge.Detailf("send at most %d bytes", limit)
	case n >= 0:
		body = make([]byte, n)
		_, err = io.ReadFull(in, body)
	default:
		if body, err = io.ReadAll(io.LimitReader(in, int64(limit)+1)); len(body) > limit {
			return errTooLarge.Detailf("send at most %d bytes", limit)
		}
	}
	if err != nil {
		return bodyFault(err)
	}
	r.Request.SetBodyRaw(body)
	return r.begin()
}

// bodyFault words what a body failed at to arrive.
func bodyFault(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errTimeout
	}
	return errMalformed.Detailf("the body ends before its end")
}

// alive gives an answer more time, because it moves.
func (r *request) alive() { _ = r.Conn().SetWriteDeadline(time.Now().Add(r.s.cfg.WriteTimeout)) }

// drain reads some of what nobody has read and is still being sent: closing a
// connection with unread bytes would take the answer away from the sender.
func (r *request) drain() {
	in := r.RequestBodyStream()
	if in == nil {
		return
	}
	_ = r.SetReadDeadline(time.Now().Add(2 * time.Second)) // what fails here fails when answering too
	if _, err := io.CopyN(io.Discard, in, 4*maxBody); !errors.Is(err, io.EOF) {
		r.SetConnectionClose()
	}
}
