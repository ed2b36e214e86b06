package daemon

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/store"
)

// statusEvery is how often STATUS= may change.
const statusEvery = 5 * time.Second

// almost is how many reserves must be free on the card, or it is almost full.
const almost = 4

// condition is what STATUS= is made of.
type condition struct {
	listen      net.Addr
	subscribers int
	copied      string // how the copy in Postgres does; empty: none is configured
	health      store.Health
	card        card
	reserve     int64  // negative: none
	fault       string // of the configuration that was not reloaded; empty: none
}

// card is the file system of the data directory.
type card struct {
	free     int64 // bytes; -1: unknown
	readOnly bool
}

// tell keeps STATUS= current until ctx ends. It is sent only when it changes.
func (m *machine) tell(ctx context.Context, l *life, first string) error {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for last := first; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if text := m.status(l); text != last {
			last = text
			notify(saysStatus(text))
		}
	}
}

// status says how the node does, for people.
func (m *machine) status(l *life) string {
	cfg := l.config.Load()
	c := condition{
		listen: m.tcp[0].Addr(), subscribers: m.hub.Stats().Subscribers, copied: m.central.progress(),
		health: m.store.Health(), card: cardOf(cfg.Data), reserve: cfg.ReserveBytes,
	}
	if fault := l.fault.Load(); fault != nil {
		c.fault = *fault
	}
	return c.String()
}

// String is one line: how the node serves, then what is wrong, the worst first.
func (c condition) String() string {
	var b strings.Builder
	b.WriteString("Serving on " + short(c.listen))
	switch c.subscribers {
	case 0:
	case 1:
		b.WriteString(", 1 subscriber")
	default:
		fmt.Fprintf(&b, ", %d subscribers", c.subscribers)
	}
	if c.copied != "" {
		b.WriteString(", " + c.copied)
	}
	b.WriteString(".")
	switch {
	case c.health.ReadOnly: // the notes tell
	case c.card.readOnly:
		b.WriteString(" The card has become read-only: reading works, publishing will fail. 'dmesg' says why; replace the card if it is worn out.")
	case c.health.NoSpace: // as above
	case c.reserve > 0 && c.card.free >= 0 && c.card.free < almost*c.reserve:
		fmt.Fprintf(&b, " The card is almost full: %d MiB are free, and below %d MiB publishing is refused.", c.card.free>>20, c.reserve>>20)
	}
	if len(c.health.Notes) > 0 {
		b.WriteString(" Degraded: " + c.health.Notes[0])
	}
	if more := len(c.health.Notes) - 1; more > 0 {
		fmt.Fprintf(&b, " And %d more: 'picloud status'.", more)
	}
	if c.fault != "" {
		b.WriteString(" The configuration was not reloaded: " + c.fault)
	}
	return b.String()
}

// short is an address without the host where that is all of this machine.
func short(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf(":%d", tcp.Port)
	}
	return a.String()
}

// progress says how far the copy in Postgres is.
func (c *central) progress() string {
	if c == nil {
		return ""
	}
	st := c.Status()
	switch lag := c.Lag(); {
	case !st.Connected():
		return fmt.Sprintf("Postgres away, %d records wait", st.Waiting)
	case lag < time.Second:
		return "copy up to date"
	default:
		return "copy " + roughly(lag) + " behind"
	}
}

// cardOf asks the kernel for the file system of a directory.
func cardOf(dir string) card {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return card{free: -1}
	}
	return card{free: int64(st.Bavail) * int64(st.Bsize), readOnly: st.Flags&unix.ST_RDONLY != 0} //nolint:unconvert // their types differ between boards
}
