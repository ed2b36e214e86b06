package realtime

import (
	"github.com/VictoriaMetrics/metrics"
)

type hubMetrics struct {
	deliveries *metrics.Counter
	replayed   *metrics.Counter
	bytes      *metrics.Counter
	gaps       *metrics.Counter
	dropped    *metrics.Counter
	resets     *metrics.Counter
	cut        *metrics.Counter
	full       *metrics.Counter
	relayed    *metrics.Counter
	edges      *metrics.Histogram // from an edge of an input to its frame in the last socket of a shard
}

func (h *Hub) register(set *metrics.Set) {
	h.metrics = hubMetrics{
		deliveries: set.GetOrCreateCounter("picloud_sse_deliveries_total"),
		replayed:   set.GetOrCreateCounter("picloud_sse_replayed_total"),
		bytes:      set.GetOrCreateCounter("picloud_sse_sent_bytes_total"),
		gaps:       set.GetOrCreateCounter("picloud_sse_gaps_total"),
		dropped:    set.GetOrCreateCounter("picloud_sse_dropped_total"),
		resets:     set.GetOrCreateCounter("picloud_sse_resets_total"),
		cut:        set.GetOrCreateCounter("picloud_sse_cut_total"),
		full:       set.GetOrCreateCounter("picloud_sse_refused_total"),
		relayed:    set.GetOrCreateCounter("picloud_cluster_relayed_total"),
		edges:      set.GetOrCreateHistogram("picloud_edge_to_frame_seconds"),
	}
	set.GetOrCreateGauge("picloud_sse_subscribers", func() float64 { return float64(h.Stats().Subscribers) })
	set.GetOrCreateGauge("picloud_sse_rings", func() float64 { return float64(h.Stats().Rings) })
}

// Stats are figures for status pages.
type Stats struct {
	Subscribers int
	Limit       int
	Rings       int // topics that have subscribers
	Deliveries  uint64
	Replayed    uint64
	Gaps        uint64
	Dropped     uint64 // events that slow subscribers missed
	Resets      uint64
	Cut         uint64 // streams whose socket took nothing
}

// Stats returns the present figures.
func (h *Hub) Stats() Stats {
	st := Stats{
		Deliveries: h.metrics.deliveries.Get(), Replayed: h.metrics.replayed.Get(), Gaps: h.metrics.gaps.Get(),
		Dropped: h.metrics.dropped.Get(), Resets: h.metrics.resets.Get(), Cut: h.metrics.cut.Get(), Limit: h.cfg.MaxSubscribers,
	}
	h.limits.mu.Lock()
	st.Subscribers = h.limits.total
	h.limits.mu.Unlock()
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, a := range h.apps {
		st.Rings += len(a.rings)
	}
	return st
}
