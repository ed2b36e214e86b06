package realtime

import (
	"sync"

	"github.com/picloud/picloud"
)

// topicState is a topic that is a state: only its newest value counts. It has no
// ring and no history, and streams of every app can carry it.
type topicState struct {
	frame    []byte        // of the newest value; nil: there is none. Its bytes do not change
	version  uint64        // rises with each value
	watchers int           // streams that carry the topic
	watched  chan struct{} // closed while there are any
}

// states are the states by their topic.
type states struct {
	mu    sync.Mutex // guards what follows; nothing else is locked while it is held
	topic map[string]*topicState
}

// of returns the state of a topic. The caller holds mu.
func (s *states) of(topic string) *topicState {
	st := s.topic[topic]
	if st == nil {
		st = &topicState{watched: make(chan struct{})}
		s.topic[topic] = st
	}
	return st
}

// watch is a subscriber's place in a state.
type watch struct {
	topic string
	seen  uint64 // version that was sent, or that is not wanted
}

// join counts a stream that carries states. With latest it gets the present
// value, otherwise the next one.
func (s *states) join(watches []watch, latest func(topic string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range watches {
		st := s.of(watches[i].topic)
		if st.watchers++; st.watchers == 1 {
			close(st.watched)
		}
		if !latest(watches[i].topic) {
			watches[i].seen = st.version
		}
	}
}

// leave is the opposite.
func (s *states) leave(watches []watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range watches {
		st := s.of(watches[i].topic)
		if st.watchers--; st.watchers == 0 {
			st.watched = make(chan struct{})
		}
	}
}

// next returns the frame that a watch has not seen, and moves the watch past it;
// nil when there is none. What came between two calls is skipped.
func (s *states) next(w *watch) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.of(w.topic)
	if w.seen == st.version {
		return nil
	}
	w.seen = st.version
	return st.frame
}

// SetState makes data, compact JSON, the value of a state and sends it to the
// streams that carry the topic: a slow one gets the newest value when it takes
// bytes again. The value is kept for those that come later; nil keeps none. It
// reports whether any stream carries the topic. It never blocks on a subscriber
// and may be called concurrently with everything else.
func (h *Hub) SetState(topic string, data []byte) (watched bool) {
	var frame []byte
	if data != nil {
		frame = appendEnvelope(nil, &picloud.Event{
			Topic: topic, Data: data, PublishedAt: h.cfg.Now().UTC(), Source: picloud.System().Source(),
		}, false)
	}
	h.states.mu.Lock()
	st := h.states.of(topic)
	st.frame = frame
	st.version++
	watched = st.watchers > 0
	h.states.mu.Unlock()
	if watched && frame != nil {
		for _, s := range h.shards {
			s.post(message{kind: msgState})
		}
	}
	return watched
}

// Watched returns a channel that is closed as soon as a stream carries a state,
// which need not be measured before.
func (h *Hub) Watched(topic string) <-chan struct{} {
	h.states.mu.Lock()
	defer h.states.mu.Unlock()
	return h.states.of(topic).watched
}

// offerStates writes the states that a live subscriber has not seen.
func (s *shard) offerStates(sub *subscriber) {
	for i := range sub.watches {
		if sub.state != stateLive || sub.blocked {
			return // goes on when its socket takes bytes again
		}
		if frame := s.hub.states.next(&sub.watches[i]); frame != nil && s.write(sub, frame) {
			s.hub.metrics.deliveries.Inc()
		}
	}
}

// appendStates appends the states that a subscriber has not seen, before it is
// live.
func (s *shard) appendStates(b []byte, sub *subscriber) []byte {
	for i := range sub.watches {
		if frame := s.hub.states.next(&sub.watches[i]); frame != nil {
			b = append(b, frame...)
			s.hub.metrics.deliveries.Inc()
		}
	}
	return b
}
