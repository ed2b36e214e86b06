package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/auth"
	"github.com/picloud/picloud/budget"
	"github.com/picloud/picloud/certificate"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/httpapi"
	"github.com/picloud/picloud/hw"
	"github.com/picloud/picloud/hw/sensor"
	"github.com/picloud/picloud/keyfile"
	"github.com/picloud/picloud/provision"
	"github.com/picloud/picloud/publish"
	"github.com/picloud/picloud/realtime"
	"github.com/picloud/picloud/script"
	"github.com/picloud/picloud/scrub"
	"github.com/picloud/picloud/spool"
	"github.com/picloud/picloud/stats"
	"github.com/picloud/picloud/store"
	"github.com/picloud/picloud/sweeper"
	"github.com/picloud/picloud/trigger"
)

// machine is all parts of a node, joined.
type machine struct {
	memory  *budget.Budget
	store   *store.Store
	hub     *realtime.Hub
	spool   *spool.Spool // nil: none
	central *central     // nil: no copy in Postgres
	board   *hw.Board
	monitor *hw.Monitor // of the board
	sensors *sensor.Poller
	scripts *script.Runner
	owed    *dispatch.Dispatcher
	stats   *stats.Reporter
	apps    *provision.Watcher // nil: none
	sweeper *sweeper.Sweeper   // nil: nothing can be removed
	scrub   *scrub.Scrubber    // nil: what is found could not be kept
	api     *httpapi.Server
	pulse   *pulse
	sockets

	certificate *certificate.Keeper // nil: no HTTPS
	secure      net.Listener        // nil as well
}

// wire makes the parts, from the bottom up, and opens the listeners.
func wire(cfg Config, build Build, log *slog.Logger, life *life) (*machine, error) {
	set := metrics.NewSet()
	sc := cfg.StoreConfig()
	sc.Logger, sc.Metrics = log, set
	var err error
	if sc.Credential, err = cfg.credential(); err != nil {
		return nil, err
	}
	m := &machine{memory: budget.New(cfg.MemoryBudget, set)}
	sc.Busy = hangable("committer", m.strained)
	st, err := store.Open(sc)
	if err != nil {
		return nil, fmt.Errorf("open the data directory: %w", err)
	}
	m.store = st
	authority := auth.New(auth.Config{Keys: st, Now: st.Now, TimeKnown: st.TimeKnown, Refresh: func() { m.central.refreshKeys() }, TTLMin: cfg.TokenTTLMin, TTLMax: cfg.TokenTTLMax, TTLDefault: cfg.TokenTTLDefault})
	publisher := publish.New(publish.Config{Committer: st, MaxData: cfg.PublishMaxBytes})
	hub, err := realtime.New(realtime.Config{
		History: st, Node: st.Node().ID, Capacity: cfg.Capacity, Heartbeat: cfg.Heartbeat, WriteTimeout: cfg.WriteTimeout,
		MaxSubscribers: cfg.MaxSubscribers, MaxPerApp: cfg.MaxPerApp, MaxPerAddress: cfg.MaxPerAddress, Budget: m.memory, Now: hangable("hub", st.Now), Logger: log, Metrics: set,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the hub: %w", err), st.Close())
	}
	m.hub = hub
	if cfg.Spool != "off" && !st.Health().ReadOnly {
		m.spool = spool.New(spool.Config{Dir: cfg.spoolPath(), Publisher: publisher, Logger: log, Metrics: set})
	}
	if cfg.HasDatabase() && !st.Health().ReadOnly {
		m.central = newCentral(cfg, build, st, publisher, hub, life, m.strained, set, log)
	}
	m.board = hw.New(hw.Config{Driver: cfg.Driver, Pins: cfg.Pins, Data: cfg.Data, History: st, Publisher: publisher, Store: boardStore{st}, Changed: func(string, string) { m.monitor.PinsChanged() }, Logger: log})
	m.monitor = hw.NewMonitor(hw.MonitorConfig{Board: m.board, Hub: hub, Publisher: publisher, History: st, HealthEvery: cfg.HealthEvery, Warm: float64(cfg.WarmCelsius), Logger: log})
	st.SetBroadcaster(m.listeners())
	m.sensors = sensor.New(sensor.Config{Sensors: cfg.Sensors, Simulated: cfg.Driver == hw.DriverSim, Publisher: publisher, Topics: boardStore{st}, Logger: log})
	m.scripts = newScripts(cfg, st, publisher, authority, m.board, m.sensors, m.memory, log)
	m.owed = dispatch.NewDispatcher(dispatch.DispatcherConfig{Outbox: st, Handler: trigger.New(m.scripts, st), Tick: cfg.CronTick, Now: hangable("dispatcher", time.Now), ClockSure: st.ClockSure, Budget: m.memory, Logger: log})
	st.SetDeliverer(m.owed)
	st.SetAppDeleted(func(app string) {
		m.scripts.EndApp(app)
		m.board.AppDeleted(app)
	})
	m.measure(set)
	measurePins(set, m.board)
	m.measureBoard(set)
	started := time.Now()
	m.stats = stats.New(stats.Config{Hub: hub, Read: m.counts, Started: started})
	if dir := cfg.appsDir(); dir != "" && !st.Health().ReadOnly {
		checks := provision.Checks{Schedule: dispatch.CheckSchedule, Script: m.scripts.Check}
		m.apps = provision.NewWatcher(provision.WatcherConfig{Dir: dir, Store: st, Checks: checks, Logger: log})
	}
	if !st.Health().ReadOnly {
		m.sweeper = sweeper.New(log, sweeper.NewTemps(st.FilesDir(), st, log).Task(), sweeper.Task{Name: "contents without a file", Sweep: st.CollectFiles})
		m.sweeper.Busy = m.strained
		m.scrub = scrub.New(scrub.Config{Store: st, Compare: m.central.comparer(), Busy: m.busy, Logger: log})
	}
	m.pulse = newPulse(m, log.With(slog.String("component", "pulse")))
	m.certificate = newCertificate(cfg, log)
	names := &hostNames{config: func() Config { return *life.config.Load() }, certificate: m.certificate}
	m.api = httpapi.New(httpapi.Config{
		Store: st, Publisher: publisher, Hub: hub, Authority: authority, Sync: m.central.lane(), Scripts: m.scripts, Board: m.board, Monitor: m.monitor, Scrubber: m.scrub, Dispatcher: m.owed, Sensors: m.sensors, Version: build.Version, Commit: build.Commit, Started: started,
		MaxData: cfg.PublishMaxBytes, OperatorGroup: cfg.OperatorGroup, Ready: life.ready, Alive: m.pulse.alive,
		TrustedProxies: cfg.TrustedProxies, Hosts: names.list, Certificate: m.certificate, Limits: cfg.HTTPLimits, Budget: m.memory, Metrics: set, Logger: log,
	})
	if m.sockets, err = listen(cfg); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if m.secure, err = listenTLS(cfg); err != nil {
		return nil, errors.Join(err, m.sockets.close(), st.Close())
	}
	return m, nil
}

// StoreConfig is what the store needs of the configuration.
func (c Config) StoreConfig() store.Config {
	sc := store.Config{
		Dir: c.Data, NodeName: c.Name, Retention: c.Retention, JournalBytes: c.JournalBytes, ReserveBytes: c.ReserveBytes,
		DataBytes: c.DataBytes, ResultBytes: c.ResultBytes, AnonymousBytes: c.AnonymousBytes, IdempotencyKeys: c.IdempotencyKeys, TopicNames: c.TopicNames,
		WearBudget: c.WearBudget, SegmentSize: c.SegmentBytes, CheckpointBytes: c.CheckpointBytes, Intake: c.Intake, MaxFile: c.MaxFile, Clock: boardClock(c.Clock), CheckSchedule: dispatch.CheckSchedule,
	}
	if c.HasDatabase() {
		sc.Readers = []string{picloud.Central}
	}
	return sc
}

// credential reads what encrypts secrets; nil: nothing was configured.
func (c Config) credential() ([]byte, error) {
	if c.SecretsKey == "" {
		return nil, nil
	}
	b, err := keyfile.Read(c.SecretsKey, maxKey)
	if err == nil && len(b) < 16 {
		err = fmt.Errorf("%s has %d bytes: use at least 16 random ones", c.SecretsKey, len(b))
	}
	if err != nil {
		return nil, fmt.Errorf("read secrets.key_file: %w", err)
	}
	return b, nil
}

// maxKey bounds a file with a key or a URL in bytes.
const maxKey = 64 << 10
