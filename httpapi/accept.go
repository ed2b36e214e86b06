package httpapi

import (
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/picloud/picloud/backoff"
)

// patientListener does not give up when the system is short of something for a
// while: the HTTP server would take that for the end.
type patientListener struct {
	net.Listener

	log *slog.Logger
}

// Accept waits for the next connection, however long that takes.
func (l patientListener) Accept() (net.Conn, error) {
	pause := backoff.Backoff{Min: 5 * time.Millisecond, Max: time.Second}
	for {
		conn, err := l.Listener.Accept()
		if err == nil || !shortage(err) {
			return conn, err
		}
		if pause.Failures() == 0 {
			l.log.Warn("no connection can be accepted for now", slog.Any("err", err))
		}
		time.Sleep(pause.Next()) //nolint:forbidigo // nothing tells when a descriptor is free again
	}
}

// shortage reports whether an error of accept(2) passes by itself.
func shortage(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR,
		syscall.EPROTO, syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.ENONET, syscall.EHOSTUNREACH, syscall.ENETUNREACH, // of the new connection, says accept(2)
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
