// Package budget bounds the memory that requesters make the node hold: what arrives,
// waits, is answered, or is not taken by its reader.
//
// A Budget divides a number of bytes into shares, one for each kind of holder. Whatever
// grows with what a requester does draws a lease before it takes the memory, and releases
// it when the memory is free again. A draw that finds no room fails with an error for the
// requester, at once or after a short wait.
//
// Within a share, no app may hold more than what is then left free, and no address more
// than half of that. These are the dynamic thresholds of Choudhury and Hahne ("Dynamic
// queue length thresholds for shared-memory packet switches", 1998): a single app gets
// half of an idle share, n apps that ask for everything get a part of n+1 each, and as much
// stays free for the next one. What comes first for an app or an address gets up to half of
// what is free, and all of an idle share: one large thing always fits there.
//
// The package counts bytes that it is told of. It allocates nothing, measures nothing,
// and bounds neither connections nor the memory of script workers.
package budget

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud"
)

// Holder is a kind of thing that holds memory.
type Holder uint8

// The holders, each with a share of its own.
const (
	Bodies     Holder = iota // bodies of requests, until they are answered
	Runs                     // input of scripts that wait or run for a request
	Deliveries               // input of scripts that run for a trigger
	Answers                  // bodies of answers, until they have left
	Streams                  // events kept for subscribers, and what those have not taken
	Replies                  // calls of scripts and their replies, until the script has them
	Uploads                  // buffers of files that arrive
	Operator                 // all of this for requests over the operator's socket
	holders
)

// parts are the shares of the holders.
var parts = [holders]struct {
	name string
	part int
}{
	Bodies: {"bodies", 8}, Runs: {"runs", 4}, Deliveries: {"deliveries", 3}, Answers: {"answers", 7},
	Streams: {"streams", 4}, Replies: {"replies", 3}, Uploads: {"uploads", 1}, Operator: {"operator", 2},
}

// allParts is the sum of parts.
const allParts = 32

// String returns the name that metrics use.
func (h Holder) String() string { return parts[h].name }

// Party is in whose name memory is held. An app or an address that is empty has no bound
// of its own.
type Party struct {
	App  string
	Peer netip.Prefix // see PeerOf
}

// PartyOf returns the party of a request or a stream: an app, and the address that it comes
// from as text. The loopback, behind which a proxy may be, is no address.
func PartyOf(app, address string) Party {
	p := Party{App: app}
	if addr, err := netip.ParseAddr(address); err == nil && !addr.IsLoopback() {
		p.Peer = PeerOf(addr)
	}
	return p
}

// PeerOf returns the party that an address is: an IPv4 address, or the /64 that one holder
// of IPv6 addresses has at least. An invalid address is none.
func PeerOf(addr netip.Addr) netip.Prefix {
	bits := 64
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		bits = 32
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// Budget hands out bytes. Its methods may be called concurrently.
type Budget struct {
	bytes  int
	shares [holders]share
}

// share is what one kind of holder has.
type share struct {
	bytes   int
	refused map[error]*metrics.Counter // ErrApp, ErrPeer, ErrTotal

	mu      sync.Mutex // guards what follows
	held    int
	apps    map[string]int // none is 0
	peers   map[netip.Prefix]int
	waiting []*waiter // first come first
}

// refuse counts a refusal, and returns it.
func (s *share) refuse(err error) error {
	s.refused[err].Inc()
	return err
}

// New returns a Budget of so many bytes, whose use it exports to set: at least 16 MiB, so
// that the largest request fits. 0 bytes: Default; a nil set: not exported. A set has one
// budget.
func New(bytes int, set *metrics.Set) *Budget {
	if bytes <= 0 {
		bytes = Default()
	}
	bytes = max(bytes, least)
	if set == nil {
		set = metrics.NewSet()
	}
	b := &Budget{bytes: bytes}
	set.NewGauge("picloud_memory_budget_bytes", func() float64 { return float64(bytes) })
	for h := range holders {
		s := &b.shares[h]
		s.bytes = bytes / allParts * parts[h].part
		s.apps, s.peers = map[string]int{}, map[netip.Prefix]int{}
		s.refused = map[error]*metrics.Counter{}
		for limit, err := range map[string]error{"app": ErrApp, "address": ErrPeer, "total": ErrTotal} {
			s.refused[err] = set.NewCounter(fmt.Sprintf("picloud_memory_refused_total{holder=%q,limit=%q}", h, limit))
		}
		set.NewGauge(fmt.Sprintf("picloud_memory_share_bytes{holder=%q}", h), func() float64 { return float64(s.bytes) })
		set.NewGauge(fmt.Sprintf("picloud_memory_held_bytes{holder=%q}", h), func() float64 { return float64(b.Held(h)) })
	}
	return b
}

// Bytes returns how many bytes the budget has.
func (b *Budget) Bytes() int { return b.bytes }

// Share returns how many bytes a kind of holder has.
func (b *Budget) Share(h Holder) int { return b.shares[h].bytes }

// Held returns how many bytes a kind of holder holds.
func (b *Budget) Held(h Holder) int {
	s := &b.shares[h]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// Usage says what one kind of holder holds.
type Usage struct {
	Holder      string
	Held, Share int    // bytes
	Refused     uint64 // draws since the start
}

// Usage returns what all kinds of holders hold.
func (b *Budget) Usage() []Usage {
	list := make([]Usage, 0, holders)
	for h := range holders {
		u := Usage{Holder: h.String(), Held: b.Held(h), Share: b.Share(h)}
		for _, c := range b.shares[h].refused {
			u.Refused += c.Get()
		}
		list = append(list, u)
	}
	return list
}

// Errors for requesters.
var (
	ErrApp = &picloud.Error{
		Code: picloud.CodeTooMany, Type: "app-memory-full", Title: "The node holds as much for this app as it may",
		Detail: "Repeat the request after the time in Retry-After, and ask for less at a time.", RetryAfter: 2 * time.Second,
	}
	ErrPeer = &picloud.Error{
		Code: picloud.CodeTooMany, Type: "address-memory-full", Title: "The node holds as much for this address as it may",
		Detail: "Take the answers to earlier requests, or repeat the request after the time in Retry-After.", RetryAfter: 2 * time.Second,
	}
	ErrTotal = &picloud.Error{
		Code: picloud.CodeUnavailable, Type: "memory-full", Title: "The node holds as much for requests as it may",
		Detail: "Repeat the request after the time in Retry-After.", RetryAfter: 2 * time.Second,
	}
)
