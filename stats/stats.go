// Package stats makes the figures of a node the state $node/stats, once a second
// while a stream carries it, and measures nothing otherwise.
//
// It turns counts into rates and adds what the process takes. It counts nothing
// itself: the parts of the node do. /metrics has the same counts and more.
package stats

import (
	"context"
	"math"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/live"
)

// Counts are the figures of the parts of a node at one moment. Totals are since
// the start of the node.
type Counts struct {
	Events      uint64 `json:"events_total"`     // published
	Commits     uint64 `json:"commits_total"`    // groups of them written
	Deliveries  uint64 `json:"deliveries_total"` // to subscribers
	Missed      uint64 `json:"missed_total"`     // events that slow subscribers missed
	Subscribers int    `json:"subscribers"`
	Limit       int    `json:"subscriber_limit"`

	Edges        uint64   `json:"edges_to_frames_total"` // edges of inputs of which subscribers were told
	EdgeFrameP50 *float64 `json:"edge_to_frame_p50_ms"`  // how long that took, since the start; nil: there was none
	EdgeFrameP99 *float64 `json:"edge_to_frame_p99_ms"`

	Running int    `json:"runs_running"` // scripts that triggers run
	Waiting int    `json:"runs_waiting"` // deliveries that are known to wait for a run
	Done    uint64 `json:"runs_done_total"`
	Failed  uint64 `json:"runs_failed_total"`
	GivenUp uint64 `json:"runs_given_up_total"` // that became dead letters

	SyncWaiting *uint64 `json:"sync_waiting_records"` // that Postgres does not have yet; nil: no copy is configured

	JournalBytes   int64 `json:"journal_bytes"`
	WrittenBytes   int64 `json:"written_bytes_total"` // to the card
	WrittenLastDay int64 `json:"written_bytes_last_day"`
}

// Stats is the value of $node/stats. Rates are over the time since the value
// before; nil: there is none.
type Stats struct {
	UptimeSec int64 `json:"uptime_sec"`
	Counts
	EventsPerSec     *float64 `json:"events_per_sec"`
	CommitsPerSec    *float64 `json:"commits_per_sec"`
	DeliveriesPerSec *float64 `json:"deliveries_per_sec"`
	HeapBytes        *uint64  `json:"heap_bytes"` // of live objects and those not swept yet; nil: unknown
	RSSBytes         *uint64  `json:"rss_bytes"`  // memory of the process; nil: unknown
}

// Config configures a Reporter.
type Config struct {
	Hub      live.Hub
	Read     func() Counts
	Started  time.Time     // of the node
	Interval time.Duration // default 1 s
}

// Reporter publishes the figures.
type Reporter struct{ cfg Config }

// New returns a Reporter, which does nothing until Run is called.
func New(cfg Config) *Reporter {
	if cfg.Interval <= 0 {
		cfg.Interval = time.Second
	}
	return &Reporter{cfg: cfg}
}

// Run reports until ctx ends, whenever a stream carries the topic.
func (r *Reporter) Run(ctx context.Context) error {
	var last Counts
	var at time.Time
	return live.State{
		Hub: r.cfg.Hub, Topic: picloud.TopicNodeStats, Every: r.cfg.Interval,
		Measure: func(first bool) (any, error) {
			if first {
				at = time.Time{} // rates since a value that is old say nothing
			}
			now, counts := time.Now(), r.cfg.Read()
			value := r.stats(now, &counts, at, &last)
			last, at = counts, now
			return value, nil
		},
	}.Run(ctx)
}

// stats completes counts, with rates since the last ones if at is not zero.
func (r *Reporter) stats(now time.Time, counts *Counts, at time.Time, last *Counts) Stats {
	st := Stats{UptimeSec: int64(now.Sub(r.cfg.Started) / time.Second), Counts: *counts, HeapBytes: heap(), RSSBytes: resident()}
	if took := now.Sub(at).Seconds(); !at.IsZero() && took > 0 {
		rate := func(now, before uint64) *float64 {
			perSec := math.Round(float64(now-before)/took*10) / 10
			return &perSec
		}
		st.EventsPerSec = rate(counts.Events, last.Events)
		st.CommitsPerSec = rate(counts.Commits, last.Commits)
		st.DeliveriesPerSec = rate(counts.Deliveries, last.Deliveries)
	}
	return st
}
