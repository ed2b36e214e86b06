package realtime

// Break makes Broadcast panic at the next event of a topic.
func (h *Hub) Break(name, topic string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.apps[name].rings[topic] = &ring{}
}
