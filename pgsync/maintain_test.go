package pgsync_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/picloud/picloud/pgsync/pgtest"
)

// A year of a busy node stays usable: events lie in partitions by month, there
// is one ahead of time, and months past retention go as a whole.
func TestMonthsPastRetentionGo(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	n := start(t, t.TempDir(), url)
	n.publish(t, "a", "1")
	n.drained(t)
	month := func(ago int) time.Time {
		now := time.Now().UTC()
		return time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC).AddDate(0, -ago, 0)
	}
	for _, ago := range []int{2, 14} {
		from, to := month(ago), month(ago-1)
		pgtest.Exec(t, url, fmt.Sprintf("CREATE TABLE picloud.%s PARTITION OF picloud.events FOR VALUES FROM ('%s') TO ('%s')",
			from.Format("events_2006_01"), from.Format(time.RFC3339), to.Format(time.RFC3339)))
		pgtest.Exec(t, url, fmt.Sprintf(`INSERT INTO picloud.events (node_id, epoch, lsn, app, topic, seq, data, source, published_at, received_at)
			VALUES ('x', 'x', %d, 'default', 'old', 1, '1', 'local', '%s', '%s')`, ago, from.Format(time.RFC3339), from.Format(time.RFC3339)))
	}
	partitions := func() int {
		return len(pgtest.Query(t, url, "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' AND relnamespace = 'picloud'::regnamespace"))
	}
	pgtest.Exec(t, url, "SELECT picloud.maintain()")
	if got := partitions(); got != 7 { // this month, three to come, two old ones, the default
		t.Errorf("%d partitions", got)
	}
	pgtest.Exec(t, url, "UPDATE picloud.settings SET value = '365' WHERE name = 'event_retention_days'")
	pgtest.Exec(t, url, "SELECT picloud.maintain()")
	same(t, pgtest.Query(t, url, "SELECT lsn FROM picloud.events WHERE topic = 'old'"), []string{"2"})
	if got := partitions(); got != 6 {
		t.Errorf("%d partitions", got)
	}
	same(t, pgtest.Query(t, url, "SELECT tableoid::regclass::text FROM picloud.events WHERE topic = 'a'"), []string{"picloud." + month(0).Format("events_2006_01")})
}
