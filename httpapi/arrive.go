package httpapi

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/picloud/picloud"
)

// How bodies of requests arrive. They are read here and not by the HTTP library,
// since that would either hold files in memory or hide what goes wrong.

// readBody reads the body of a request that is no file, up to a limit.
func (r *request) readBody(limit int) error {
	in := r.RequestBodyStream()
	if in == nil {
		return nil
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
	return nil
}

// bodyFault words what a body failed at to arrive.
func bodyFault(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errTimeout
	}
	return errMalformed.Detailf("the body ends before its end")
}

// maxUploads bounds the files that arrive at the same time.
const maxUploads = 32

// upload returns the body of a request that is a file, which may take its time as
// long as it moves. The caller calls done.
func (r *request) upload() (in io.Reader, done func(), err error) {
	select {
	case r.s.uploads <- struct{}{}:
	default:
		return nil, nil, picloud.ErrBusy.Detailf("%d files arrive at this moment. Repeat the request after the time in Retry-After.", maxUploads)
	}
	u := &upload{r: r, in: r.RequestBodyStream(), left: int64(r.Request.Header.ContentLength())}
	return u, func() { <-r.s.uploads }, nil
}

// upload reads a body. One that ends early is not taken for whole.
type upload struct {
	r    *request
	in   io.Reader // nil: there is no body
	left int64     // negative: not known
}

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	if u.in == nil || u.left == 0 {
		return 0, io.EOF
	}
	if err := u.r.SetReadDeadline(time.Now().Add(u.r.s.cfg.ReadTimeout)); err != nil {
		return 0, bodyFault(err)
	}
	n, err := u.in.Read(p)
	if u.left > 0 {
		u.left -= int64(n)
		if errors.Is(err, io.EOF) && u.left > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = bodyFault(err)
	}
	return n, err
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
