package budget

import (
	"context"
	"net/netip"
	"slices"
)

// Lease is what one holder has drawn; Release gives it back. The zero Lease has no budget,
// and holds nothing. It is for one goroutine at a time.
type Lease struct {
	b      *Budget
	holder Holder
	party  Party
	bytes  int
}

// Lease returns a lease that holds nothing yet.
func (b *Budget) Lease(h Holder, p Party) Lease { return Lease{b: b, holder: h, party: p} }

// Draw draws bytes for a holder. It fails with ErrApp, ErrPeer or ErrTotal.
func (b *Budget) Draw(h Holder, p Party, bytes int) (Lease, error) {
	l := b.Lease(h, p)
	err := l.Resize(bytes)
	return l, err
}

// Bytes returns how many bytes are drawn.
func (l *Lease) Bytes() int { return l.bytes }

// Resize makes it so many bytes, or the whole share if that is less. Only growing can fail;
// then the lease stays as it was.
func (l *Lease) Resize(bytes int) error {
	if err := l.grow(bytes); err != nil {
		return l.b.shares[l.holder].refuse(err)
	}
	return nil
}

// Try is Resize for what can do without, or come again later: that there is no room is no
// refusal.
func (l *Lease) Try(bytes int) bool { return l.grow(bytes) == nil }

func (l *Lease) grow(bytes int) error {
	s := &l.b.shares[l.holder]
	if bytes = min(bytes, s.bytes); bytes <= l.bytes {
		l.Set(bytes)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admit(l.party, l.bytes, bytes-l.bytes); err != nil {
		return err
	}
	l.bytes = bytes
	return nil
}

// Wait is Resize that waits for room until ctx ends. Those that wait are served in the
// order in which they came, but for those whose app or address has no room. One that holds
// some already must not wait: two of them could wait for each other.
func (l *Lease) Wait(ctx context.Context, bytes int) error {
	s := &l.b.shares[l.holder]
	bytes = min(bytes, s.bytes)
	s.mu.Lock()
	if s.admit(l.party, l.bytes, bytes-l.bytes) == nil {
		s.mu.Unlock()
		l.bytes = bytes
		return nil
	}
	w := &waiter{party: l.party, own: l.bytes, bytes: bytes - l.bytes, turn: make(chan struct{})}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	select {
	case <-w.turn:
		l.bytes = bytes
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting, w)
	if i < 0 { // its turn came at the same time
		l.bytes = bytes
		return nil
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	if err := s.admit(l.party, l.bytes, bytes-l.bytes); err != nil {
		return s.refuse(err)
	}
	l.bytes = bytes
	return nil
}

// Set makes it so many bytes without asking, for memory that is already taken, or that
// has a bound of its own. The share may then be overdrawn.
func (l *Lease) Set(bytes int) {
	if l.b != nil && bytes != l.bytes {
		s := &l.b.shares[l.holder]
		s.mu.Lock()
		s.count(l.party, bytes-l.bytes)
		if bytes < l.bytes {
			s.wake()
		}
		s.mu.Unlock()
	}
	l.bytes = bytes
}

// Release gives all back. Doing so again does nothing.
func (l *Lease) Release() { l.Set(0) }

// waiter waits for room for bytes.
type waiter struct {
	party      Party
	own, bytes int
	turn       chan struct{} // closed when they are drawn
}

// wake admits those that wait and have room now. The caller holds mu.
func (s *share) wake() {
	s.waiting = slices.DeleteFunc(s.waiting, func(w *waiter) bool {
		if s.admit(w.party, w.own, w.bytes) != nil {
			return false
		}
		close(w.turn)
		return true
	})
}

// admit draws bytes for a lease that has drawn own others, or says why there is no room.
// Where others hold something, nothing gets more than half of what is free: the next one
// finds room, too. The caller holds mu.
func (s *share) admit(p Party, own, bytes int) error {
	free := s.bytes - s.held
	switch peer, app := s.peers[p.Peer], s.apps[p.App]; {
	case p.Peer.IsValid() && peer > own && peer+bytes > free/2:
		return ErrPeer
	case p.App != "" && app > own && app+bytes > free:
		return ErrApp
	case bytes > free, bytes > free/2 && s.held > own:
		return ErrTotal
	}
	s.count(p, bytes)
	return nil
}

// count adds bytes, which may be negative. The caller holds mu.
func (s *share) count(p Party, bytes int) {
	s.held += bytes
	if p.App != "" {
		addTo(s.apps, p.App, bytes)
	}
	if p.Peer.IsValid() {
		addTo(s.peers, p.Peer, bytes)
	}
}

func addTo[K string | netip.Prefix](m map[K]int, key K, bytes int) {
	if n := m[key] + bytes; n != 0 {
		m[key] = n
	} else {
		delete(m, key)
	}
}
