package store

import (
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// storeMetrics are the figures a node exports about its storage.
type storeMetrics struct {
	events      *metrics.Counter
	commits     *metrics.Counter
	bytes       *metrics.Counter
	refused     *metrics.Counter
	noSpace     *metrics.Counter
	repeated    *metrics.Counter
	seconds     *metrics.Histogram
	checkpoints *metrics.Counter
	cpBytes     *metrics.Counter
	cpFailed    *metrics.Counter
	givenUp     *metrics.Counter
}

func (s *Store) register(set *metrics.Set) {
	s.metrics = storeMetrics{
		events:      set.GetOrCreateCounter("picloud_events_published_total"),
		commits:     set.GetOrCreateCounter("picloud_commits_total"),
		bytes:       set.GetOrCreateCounter("picloud_journal_written_bytes_total"),
		refused:     set.GetOrCreateCounter(`picloud_publish_refused_total{reason="intake_full"}`),
		noSpace:     set.GetOrCreateCounter(`picloud_publish_refused_total{reason="no_space"}`),
		repeated:    set.GetOrCreateCounter("picloud_publish_repeated_total"),
		seconds:     set.GetOrCreateHistogram("picloud_commit_duration_seconds"),
		checkpoints: set.GetOrCreateCounter("picloud_checkpoints_total"),
		cpBytes:     set.GetOrCreateCounter("picloud_checkpoint_written_bytes_total"),
		cpFailed:    set.GetOrCreateCounter("picloud_checkpoint_failures_total"),
	}
	s.metrics.givenUp = set.GetOrCreateCounter("picloud_deliveries_dropped_total")
	set.GetOrCreateGauge("picloud_deliveries_positions", func() float64 { return float64(s.tables.pending.waiting()) })
	set.GetOrCreateGauge("picloud_triggers_behind", func() float64 { return float64(s.catalog.Load().behind().Len()) })
	set.GetOrCreateGauge("picloud_journal_bytes", func() float64 { return float64(s.journal.SizeOnDisk()) })
	set.GetOrCreateGauge("picloud_journal_segments", func() float64 { return float64(len(s.journal.Segments())) })
	set.GetOrCreateGauge("picloud_journal_last_lsn", func() float64 { return float64(s.journal.Written()) })
	set.GetOrCreateGauge("picloud_card_written_day_bytes", func() float64 { return float64(s.wear.day(s.cfg.Now())) })
	set.GetOrCreateGauge("picloud_card_wear_budget_bytes", func() float64 { return float64(s.cfg.WearBudget) })
	set.GetOrCreateGauge("picloud_card_written_bytes_per_event", func() float64 { return float64(s.wear.all()) / max(1, float64(s.metrics.events.Get())) })
	set.GetOrCreateGauge("picloud_intake_commands", func() float64 {
		n, _ := s.intake.waiting()
		return float64(n)
	})
	set.GetOrCreateGauge("picloud_intake_bytes", func() float64 {
		_, n := s.intake.waiting()
		return float64(n)
	})
	set.GetOrCreateGauge("picloud_store_degraded", func() float64 {
		if s.Health().Degraded {
			return 1
		}
		return 0
	})
}

// block is the unit in which cards and their file systems write.
const block = 4096

// wrote counts what a group of n encoded bytes costs the card: whole blocks.
func (s *Store) wrote(n int64, took time.Duration) {
	n = (n + block - 1) / block * block
	s.metrics.commits.Inc()
	s.metrics.bytes.AddInt64(n)
	s.metrics.seconds.Update(took.Seconds())
	s.wear.add(s.cfg.Now(), n)
}
