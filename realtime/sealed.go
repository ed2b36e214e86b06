package realtime

import (
	"net"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/budget"
)

// Sealer encrypts what is written to a stream. One goroutine at a time uses it.
type Sealer interface {
	// Seal appends the records that carry plain, which is not empty, to dst.
	Seal(dst, plain []byte) ([]byte, error)
	// SealEnd appends the record that says that nothing follows to dst.
	SealEnd(dst []byte) ([]byte, error)
}

// Secure is a connection that carries records instead of what is written to it.
type Secure interface {
	// Detach gives away the socket below, on which nothing is read or written any more but by
	// the caller, and what encrypts for it.
	Detach() (socket net.Conn, sealer Sealer)
}

// maxPlain is how much of a write is encrypted at a time: a record is as long at most.
const maxPlain = 16 << 10

// sealed is the part of a subscriber whose stream is encrypted.
//
// What is encrypted has to be sent, whole and in order, whatever becomes of the events: a socket
// that is full keeps records back. Writers count plain bytes and know nothing of that. So the
// last plain byte of the records that are kept counts as not sent: the frame that it belongs to
// has been begun for its writer, which comes back with that byte first, as it does with the
// frame that any full socket has cut.
type sealed struct {
	sealer Sealer
	rest   []byte // of records that the socket has not taken
	ahead  bool   // the next plain byte was encrypted with the records before
	lease  budget.Lease
}

// sendSealed writes as much as the socket takes, encrypted.
func (s *shard) sendSealed(sub *subscriber, b []byte) (int, error) {
	c := sub.sealed
	if len(c.rest) > 0 {
		n, err := s.push(sub, c.rest)
		if c.rest = c.rest[n:]; err != nil || len(c.rest) > 0 {
			return 0, err
		}
		c.forgetRest()
	}
	done := 0
	if c.ahead && len(b) > 0 {
		c.ahead, done = false, 1
	}
	for done < len(b) {
		part := b[done:min(len(b), done+maxPlain)]
		records, err := c.sealer.Seal(s.records[:0], part)
		if err != nil {
			return done, err
		}
		s.records = records
		n, err := s.push(sub, records)
		if err != nil {
			return done, err
		}
		done += len(part)
		if n < len(records) {
			if rest := len(records) - n; rest > unmeteredRest && !c.lease.Try(rest) {
				s.hub.metrics.cut.Inc()
				return done, unix.ENOBUFS
			}
			c.rest, c.ahead = slices.Clone(records[n:]), true
			return done - 1, nil
		}
	}
	return done, nil
}

// waits reports whether the socket has not taken all records.
func (c *sealed) waits() bool { return c != nil && len(c.rest) > 0 }

// forgetRest gives back the memory of what the socket has not taken.
func (c *sealed) forgetRest() {
	if c != nil {
		c.rest = nil
		c.lease.Release()
	}
}

// endSealed tells the peer that nothing follows.
func (s *shard) endSealed(sub *subscriber) {
	if records, err := sub.sealed.sealer.SealEnd(s.records[:0]); err == nil {
		_, _ = s.push(sub, records) // it is going to be closed anyway
	}
}
