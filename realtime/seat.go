package realtime

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
)

// Errors of Reserve. They carry when to try again.
var (
	ErrFull = &picloud.Error{
		Code: picloud.CodeUnavailable, Type: "subscribers-full", Title: "The node has as many subscribers as it can carry",
		Detail: "Try again after the time in Retry-After.", RetryAfter: 10 * time.Second,
	}
	ErrAppFull = &picloud.Error{
		Code: picloud.CodeTooMany, Type: "app-subscribers-full", Title: "The app has as many subscribers as it may have",
		Detail: "Try again after the time in Retry-After, or put several topics on one stream.", RetryAfter: 10 * time.Second,
	}
	ErrAddressFull = &picloud.Error{
		Code: picloud.CodeTooMany, Type: "address-subscribers-full", Title: "This address has as many streams as it may have",
		Detail: "Close some, or put several topics on one stream.", RetryAfter: 10 * time.Second,
	}
)

// limits counts subscribers.
type limits struct {
	mu         sync.Mutex // guards what follows
	total      int
	perApp     map[string]int
	perAddress map[string]int
	cfg        Config
}

func (l *limits) init(cfg Config) {
	l.cfg, l.perApp, l.perAddress = cfg, map[string]int{}, map[string]int{}
}

// Seat is the right to one stream.
type Seat struct {
	hub          *Hub
	app, address string
	released     atomic.Bool
}

// Reserve takes a seat before an answer is begun, or says why there is none. An
// empty address is not counted.
func (h *Hub) Reserve(app, address string) (*Seat, error) {
	l := &h.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.total >= l.cfg.MaxSubscribers:
		h.metrics.full.Inc()
		return nil, ErrFull
	case l.perApp[app] >= l.cfg.MaxPerApp:
		return nil, ErrAppFull
	case address != "" && l.perAddress[address] >= l.cfg.MaxPerAddress:
		return nil, ErrAddressFull
	}
	l.total++
	l.perApp[app]++
	if address != "" {
		l.perAddress[address]++
	}
	return &Seat{hub: h, app: app, address: address}, nil
}

// Release gives a seat back. Only the first call counts.
func (s *Seat) Release() {
	if s.released.Swap(true) {
		return
	}
	l := &s.hub.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.perApp[s.app]--; l.perApp[s.app] == 0 {
		delete(l.perApp, s.app)
	}
	if s.address == "" {
		return
	}
	if l.perAddress[s.address]--; l.perAddress[s.address] == 0 {
		delete(l.perAddress, s.address)
	}
}

// Attach makes a connection, which may be Secure, a stream and returns at once.
// The connection belongs to the hub from now on, which closes it in the end and
// then gives the seat back.
func (s *Seat) Attach(conn net.Conn, sub Subscription) {
	h := s.hub
	var sealer Sealer
	if secure, ok := conn.(Secure); ok {
		conn, sealer = secure.Detach()
	}
	fd, err := takeSocket(conn)
	_ = conn.Close() // the descriptor was duplicated
	if err != nil {
		h.log.Warn("connection could not be taken over", slog.Any("err", err))
		s.Release()
		return
	}
	sh := h.shards[int(h.turn.Add(1))%len(h.shards)]
	one := newSubscriber(sh, s, fd, sealer, &sub)
	one.tcp = tune(fd)
	if err := h.join(one); err != nil {
		_ = unix.Close(fd) // nothing was sent
		s.Release()
		return
	}
	if !sh.post(message{kind: msgAdd, sub: one}) {
		h.leave(one)
		_ = unix.Close(fd)
		s.Release()
		return
	}
	// From here on a revocation reaches the stream. One that came before is
	// found by asking again.
	if sub.Recheck == nil {
		return
	}
	if err := sub.Recheck(); err != nil {
		end := ending{Reason: reasonRevoked}
		if public := picloud.AsError(err); public != nil && errors.Is(public, picloud.ErrTopicNotFound) {
			end = ending{Reason: reasonTopic, Topic: public.Topic}
			if len(sub.Topics) == 1 {
				end.Topic = sub.Topics[0]
			}
		}
		sh.post(message{kind: msgEnd, sub: one, ending: end})
	}
}
