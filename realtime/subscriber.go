package realtime

import (
	"slices"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/budget"
)

// Subscription says what a stream carries and until when.
type Subscription struct {
	App      string
	Topics   []string // at least one, none twice
	Start    picloud.Start
	Latest   []string // of Topics: those whose newest event up to the start, or present value, comes first; StartLatest means all
	Lossless bool     // refill from the history instead of telling a gap
	Head     []byte   // written first: the head of the HTTP response
	Grant    Grant

	// Recheck is asked once after the stream has been registered. An error ends
	// it: a right that ended between the decision and the registration is not
	// missed. nil: not asked.
	Recheck func() error
}

// Grant is by what right a stream is open.
type Grant struct {
	Outside    bool   // because its topics are external
	SigningKey string // by a token signed with this key
	APIKey     string // by this API key
	Expires    time.Time
}

type state uint8

const (
	stateCatchup state = iota // a replayer has it, or what it read is being written
	stateLive
	stateClosed
)

// subscriber is one stream. All of it belongs to its shard's goroutine once it
// has been added there.
type subscriber struct {
	shard  *shard
	app    *app
	seat   *Seat
	sub    Subscription
	fd     int
	sealed *sealed // nil: the stream is not encrypted
	id     int32   // tells it from an earlier one with the same descriptor

	state     state
	blocked   bool          // the socket takes nothing; an event of the poller will end that
	opened    bool          // the first frame has been made
	last      bool          // the page being written is the last before the seam
	cursor    uint64        // everything up to this sequence has been sent or told
	events    []string      // topics that have events
	watches   []watch       // topics that are states
	cursors   []cursor      // of events
	one       [1]cursor     // cursors of the many that have one topic
	rest      []byte        // of a write that was cut short
	chunk     *byte         // of which rest is a part; nil: none, rest is a copy
	lease     budget.Lease  // of a copy
	partial   uint64        // when catching up: the event of which a part has been sent
	skip      int           // bytes of its frame that have been; 0: none
	finish    bool          // it catches up with that frame only
	expires   int64         // seconds since 1970; 0: never
	endsUp    time.Duration // of the hub, when it expires at the latest
	lastSent  time.Duration // of the hub, when the socket last took bytes
	tcp       bool          // a socket of TCP, whose peer may vanish
	sent      int64         // bytes that the socket has taken
	taken     int64         // of those, bytes that the peer had acknowledged at the last look
	stalledAt time.Duration // of the hub, since when the peer takes nothing although something is there for it
	floors    []uint64      // of topics that have events, when catching up began; nil: events after the cursor were all there
	limit     int           // events of the next page, by how large the last were
	slot      int           // in shard.subscribers
}

// cursor is a place in a ring.
type cursor struct {
	ring *ring
	next uint64 // index of the next entry
	slot int    // in shard.members[ring]
}

func newSubscriber(sh *shard, seat *Seat, fd int, sealer Sealer, sub *Subscription) *subscriber {
	s := &subscriber{shard: sh, seat: seat, sub: *sub, fd: fd, events: sub.Topics}
	s.lease = sh.hub.cfg.Budget.Lease(budget.Streams, budget.PartyOf(sub.App, seat.address))
	if sealer != nil {
		s.sealed = &sealed{sealer: sealer, lease: sh.hub.cfg.Budget.Lease(budget.Streams, budget.PartyOf(sub.App, seat.address))}
	}
	if slices.ContainsFunc(sub.Topics, picloud.IsStateTopic) {
		s.events = nil
		for _, topic := range sub.Topics {
			if picloud.IsStateTopic(topic) {
				s.watches = append(s.watches, watch{topic: topic})
			} else {
				s.events = append(s.events, topic)
			}
		}
	}
	if len(s.events) == 1 {
		s.cursors = s.one[:]
	} else {
		s.cursors = make([]cursor, len(s.events))
	}
	if !sub.Grant.Expires.IsZero() {
		s.expires = sub.Grant.Expires.Unix()
	}
	return s
}

// latest reports whether the newest of a topic comes first.
func (s *subscriber) latest(topic string) bool {
	return s.sub.Start.Mode == picloud.StartLatest || slices.Contains(s.sub.Latest, topic)
}

// position returns the text of a sequence of the subscriber's app.
func (s *subscriber) position(seq uint64) string {
	return picloud.Position{Epoch: picloud.Epoch(s.app.epoch.Load()), Seq: seq}.String()
}

// appendHello begins the stream: the response's head and the first frame. A nil
// resume says that the stream ends before it has begun.
func (s *subscriber) appendHello(b []byte, resume *string, resumed bool) []byte {
	h := s.shard.hub
	b = append(b, s.sub.Head...)
	s.sub.Head, s.opened = nil, true
	b = appendRetry(b, h.retry())
	var newest *string
	if resume != nil {
		newest = new(s.position(s.app.last.Load()))
	}
	return appendControl(b, "hello", hello{
		Node: h.cfg.Node, App: s.sub.App, Topics: s.sub.Topics, HeartbeatSec: h.cfg.Heartbeat.Seconds(),
		Resume: resume, Newest: newest, Time: h.cfg.Now().UTC().Format(picloud.TimeLayout), Resumed: resumed, Lossless: s.sub.Lossless,
	})
}
