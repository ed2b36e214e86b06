package realtime

import "github.com/picloud/picloud"

// Relay takes events of other nodes to the live subscribers of their topics.
// They are live only: who catches up gets what was published here. It may be
// called while Broadcast is; of one node it takes the events in order.
func (h *Hub) Relay(events []picloud.Event) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for i := range events {
		e := &events[i]
		a := h.apps[e.App]
		if a == nil {
			continue
		}
		if r := a.rings[e.Topic]; r != nil {
			r.add(e)
			h.touch(r)
			h.metrics.relayed.Inc()
		}
	}
	for _, s := range h.shards {
		s.wakeDirty()
	}
	h.shrinkRings()
}

// Listened lists the topics that have subscribers, by app.
func (h *Hub) Listened() (apps, topics []string) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for name, a := range h.apps {
		for topic := range a.rings {
			apps, topics = append(apps, name), append(topics, topic)
		}
	}
	return apps, topics
}
