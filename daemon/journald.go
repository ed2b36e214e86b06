package daemon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/sys/unix"
)

// journalSocket is where the journal of systemd takes entries.
const journalSocket = "/run/systemd/journal/socket"

// Bounds of an entry, far below what a datagram may have.
const (
	maxField     = 8 << 10 // bytes of a value
	maxFieldName = 64      // bytes, as the journal has it
)

// journald sends entries to the journal of systemd, by its native protocol
// (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/). It never waits: a journal that hangs on a
// broken card must not take the node with it. Entries that the journal does not take are
// dropped, and the next one that it takes is preceded by their number. It is safe for
// concurrent use.
type journald struct {
	fd int
	to unix.Sockaddr

	mu      sync.Mutex // guards what follows
	dropped int
}

func openJournald(socket string) (*journald, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket for the journal: %w", os.NewSyscallError("socket", err))
	}
	return &journald{fd: fd, to: &unix.SockaddrUnix{Name: socket}}, nil
}

// send sends one entry, or drops it.
func (j *journald) send(p journal.Priority, fields []entryField) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.dropped > 0 {
		text := fmt.Sprintf("%d entries were dropped because the journal took none", j.dropped)
		if j.write(encodeEntry(journal.PriWarning, []entryField{{"MESSAGE", text}})) == nil {
			j.dropped = 0
		}
	}
	if j.write(encodeEntry(p, fields)) != nil {
		j.dropped++
	}
}

func (j *journald) write(entry []byte) error {
	for {
		if err := unix.Sendto(j.fd, entry, unix.MSG_NOSIGNAL, j.to); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// encodeEntry returns an entry as the journal takes it.
func encodeEntry(p journal.Priority, fields []entryField) []byte {
	b := fmt.Appendf(nil, "SYSLOG_IDENTIFIER=picloud\nPRIORITY=%d\n", p)
	for _, f := range fields {
		b = f.append(b)
	}
	return b
}

// entryField is a field of an entry.
type entryField struct{ name, value string }

// append appends the field. A value with a line break has its length before it, so that
// nothing in it is taken for another field.
func (f entryField) append(b []byte) []byte {
	value := f.value
	if len(value) > maxField {
		cut := maxField
		for !utf8.RuneStart(value[cut]) {
			cut--
		}
		value = value[:cut] + " …"
	}
	b = append(b, fieldName(f.name)...)
	if !strings.Contains(value, "\n") {
		return append(append(append(b, '='), value...), '\n')
	}
	b = binary.LittleEndian.AppendUint64(append(b, '\n'), uint64(len(value)))
	return append(append(b, value...), '\n')
}

// fieldName returns a name that the journal takes: of capitals, digits and underscores.
func fieldName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, name)
	return name[:min(len(name), maxFieldName)]
}
