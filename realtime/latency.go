package realtime

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// EdgeLatency is how long edges of inputs took to their frames in the sockets, since the
// start of the node.
type EdgeLatency struct {
	Edges    uint64 // that were measured: those with subscribers
	P50, P99 time.Duration
}

// EdgeLatency returns the present figures. Quantiles are the upper bounds of the
// histogram's buckets, which are 14 % wide.
func (h *Hub) EdgeLatency() EdgeLatency {
	type bucket struct {
		upTo  float64 // seconds
		count uint64
	}
	var l EdgeLatency
	var buckets []bucket
	h.metrics.edges.VisitNonZeroBuckets(func(bounds string, n uint64) { // in rising order
		_, text, _ := strings.Cut(bounds, "...")
		upTo, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(upTo, 0) {
			upTo = math.MaxInt64 / float64(2*time.Second)
		}
		buckets = append(buckets, bucket{upTo, n})
		l.Edges += n
	})
	quantile := func(q float64) time.Duration {
		var seen uint64
		for _, b := range buckets {
			if seen += b.count; float64(seen) >= q*float64(l.Edges) {
				return time.Duration(b.upTo * float64(time.Second))
			}
		}
		return 0
	}
	l.P50, l.P99 = quantile(0.5), quantile(0.99)
	return l
}
