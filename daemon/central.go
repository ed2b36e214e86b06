package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/keyfile"
	"github.com/picloud/picloud/pgsync"
	"github.com/picloud/picloud/realtime"
	"github.com/picloud/picloud/scrub"
	"github.com/picloud/picloud/store"
)

// central is what copies the node to Postgres: a lane and its consumer.
type central struct {
	*dispatch.Lane
	sync    *pgsync.Sync
	cluster *pgsync.Cluster // nil: this node is alone
}

// newCentral joins the two.
func newCentral(cfg Config, build Build, st *store.Store, publisher picloud.Publisher, hub *realtime.Hub, life *life, busy func() bool, set *metrics.Set, log *slog.Logger) *central {
	pc := pgsync.Config{
		URL: life.databaseURL, DirectURL: func() (string, error) { return cfg.DatabaseDirectURL, nil }, Schema: cfg.DatabaseSchema, Local: st, Place: place(cfg.Data), Version: build.Version,
		Migrate: cfg.DatabaseMigrate, Notify: cfg.Cluster == "postgres", OmitContents: !cfg.DatabaseFiles, Health: func() string { return healthText(st.Health()) }, Logger: log,
	}
	sync := pgsync.New(pc)
	lane := dispatch.New(dispatch.Config{Name: picloud.Central, Journal: st, Consumer: sync, Busy: busy, Changed: announce(publisher, log), Logger: log})
	set.GetOrCreateGauge("picloud_sync_waiting_records", func() float64 { return float64(lane.Status().Waiting) })
	set.GetOrCreateGauge("picloud_sync_lag_seconds", func() float64 { return lane.Lag().Seconds() })
	set.GetOrCreateGauge("picloud_sync_records_per_second", func() float64 { return lane.Status().PerSec })
	set.GetOrCreateGauge("picloud_sync_set_aside_records", func() float64 { return float64(lane.Status().SetAside) })
	set.GetOrCreateGauge("picloud_sync_lost_records", func() float64 { return float64(lane.Status().Lost) })
	set.GetOrCreateGauge("picloud_sync_connected", func() float64 {
		if lane.Status().Connected() {
			return 1
		}
		return 0
	})
	c := &central{Lane: lane, sync: sync}
	if pc.Notify {
		c.cluster = pgsync.NewCluster(pc, hub)
	}
	return c
}

// lane is the lane; nil when there is none.
func (c *central) lane() *dispatch.Lane {
	if c == nil {
		return nil
	}
	return c.Lane
}

// comparer holds the copy against the node; nil when there is none.
func (c *central) comparer() func(ctx context.Context) (scrub.Comparison, error) {
	if c == nil {
		return nil
	}
	return c.compare
}

func (c *central) compare(ctx context.Context) (scrub.Comparison, error) {
	if !c.Status().Connected() {
		return scrub.Comparison{}, pgsync.ErrAway
	}
	found, err := c.sync.Compare(ctx, c.Poke)
	return scrub.Comparison(found), err
}

// refreshPatience is how long a request may wait for keys of other nodes.
const refreshPatience = time.Second

// refreshKeys brings keys of other nodes here, if the database can be reached.
func (c *central) refreshKeys() {
	if c == nil || !c.Status().Connected() {
		return
	}
	imported := c.sync.Imported()
	c.Poke()
	select {
	case <-imported:
	case <-time.After(refreshPatience):
	}
}

// PgsyncConfig is what tools need to reach the database of a configuration.
func (c Config) PgsyncConfig(log *slog.Logger) pgsync.Config {
	l := new(life)
	l.apply(c)
	return pgsync.Config{URL: l.databaseURL, Schema: c.DatabaseSchema, Logger: log}
}

// HasDatabase reports whether the node is to be copied.
func (c Config) HasDatabase() bool { return c.DatabaseURL != "" || c.DatabaseURLFile != "" }

// errNoDatabase is for tools that need one.
var errNoDatabase = errors.New("no database is configured: set database.url, or PICLOUD_DATABASE_URL")

// databaseURL returns the URL that is in force. A file is read anew each time,
// so that a password that was changed is taken up by itself.
func (l *life) databaseURL() (string, error) {
	cfg := l.config.Load()
	switch {
	case cfg.DatabaseURLFile != "":
		b, err := keyfile.Read(cfg.DatabaseURLFile, maxKey)
		return strings.TrimSpace(string(b)), err
	case cfg.DatabaseURL != "":
		return cfg.DatabaseURL, nil
	}
	return "", errNoDatabase
}

// place names this board and this directory, which tells a restart from a copy.
// Where a board has no serial number its start has to do: then a node waits
// after a power cut until its old session must be dead.
func place(dir string) string {
	id, err := os.ReadFile("/proc/device-tree/serial-number")
	if err != nil {
		id, _ = os.ReadFile("/proc/sys/kernel/random/boot_id") // without one, the directory has to do
	}
	text := strings.Trim(string(id), "\x00\n ")
	if info, err := os.Stat(filepath.Join(dir, "lock")); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			text += fmt.Sprintf(" %x:%x", st.Dev, st.Ino)
		}
	}
	return text
}

func healthText(h store.Health) string {
	if !h.Degraded {
		return "ok"
	}
	return "degraded: " + strings.Join(h.Notes, " ")
}

// syncNews is an event on picloud.TopicNodeSync.
type syncNews struct {
	State    string `json:"state"` // connected or waiting
	Waiting  uint64 `json:"waiting"`
	SetAside uint64 `json:"set_aside"`
	Lost     uint64 `json:"lost"`
	Error    string `json:"error,omitempty"`
	Advice   string `json:"advice,omitempty"` // what to do about it
}

// announce publishes when the copy comes or goes, or has to leave something
// behind. How far it has come is no news: that is asked for.
func announce(publisher picloud.Publisher, log *slog.Logger) func(dispatch.Status) {
	var last syncNews
	return func(st dispatch.Status) {
		news := syncNews{State: "waiting", Waiting: st.Waiting, SetAside: st.SetAside, Lost: st.Lost, Error: st.Error, Advice: st.Advice}
		if st.Connected() {
			news.State = "connected"
		}
		if news.State == last.State && news.SetAside == last.SetAside && news.Lost == last.Lost && (st.Connected() || news.Error == last.Error) {
			return
		}
		last = news
		data, err := json.Marshal(news)
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err = publisher.Publish(ctx, picloud.Publication{
				App: picloud.DefaultApp, By: picloud.System(), Drafts: []picloud.Draft{{Topic: picloud.TopicNodeSync, Data: data}},
			})
		}
		if err != nil { // the log has told already what it would say
			log.Debug("state of the copy was not announced", slog.Any("err", err))
		}
	}
}
