package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/httpapi"
	"github.com/picloud/picloud/hw"
	"github.com/picloud/picloud/hw/sensor"
	"github.com/picloud/picloud/pgsync"
)

// Config is what a node is told. DefaultConfig has the defaults; the table
// Settings says what each means.
type Config struct {
	Data          string
	Listen        string
	Socket        string // empty: from Data
	Name          string
	OperatorGroup string

	MemoryBudget int // bytes; 0: from the board

	PublishMaxBytes int
	Heartbeat       time.Duration
	Capacity        int
	WriteTimeout    time.Duration
	MaxSubscribers  int
	MaxPerApp       int
	MaxPerAddress   int

	TokenTTLMin, TokenTTLMax, TokenTTLDefault time.Duration

	Retention    picloud.Retention
	JournalBytes int64
	ReserveBytes int64
	WearBudget   int64

	SegmentBytes    int64
	CheckpointBytes int64
	Intake          int

	DatabaseURL     string // empty: no copy, unless DatabaseURLFile
	DatabaseURLFile string // wins over DatabaseURL

	DatabaseDirectURL string // for notifications; empty: as the other
	DatabaseSchema    string
	DatabaseMigrate   bool
	DatabaseFiles     bool
	Cluster           string // "off" or "postgres"
	Clock             string // "auto", "kernel" or "trusted"

	CronTick      time.Duration
	ScriptWorkers int
	ScriptSandbox bool
	HTTPHosts     []string // that scripts may ask
	SecretsKey    string   // file; empty: none
	MaxFile       int64

	DataBytes, ResultBytes, AnonymousBytes int64 // of each app
	IdempotencyKeys, TopicNames            int64

	Driver      string         // of the pins: "kernel" or "sim"
	Pins        []hw.PinConfig // from the file alone
	HealthEvery time.Duration
	WarmCelsius int

	places map[string]string // of settings and tables that were given, by their keys: FILE:LINE, a variable or a flag

	Sensors []sensor.Settings // from the file alone

	Apps           string // empty: DefaultApps for an installed node; "off": none
	Spool          string // empty: Data/spool; "off": none
	TrustedProxies []netip.Prefix
	HTTPLimits     httpapi.Limits
	AllowedHosts   []string // lower case; "*.domain": those below it
	TLSCert        string   // file; empty: no HTTPS
	TLSKey         string   // file
	TLSListen      string
	LogLevel       slog.Level
	LogFormat      string
}

// DefaultData is the data directory of an installed node.
const DefaultData = "/var/lib/picloud"

// DefaultConfig returns the configuration of a node that is told nothing.
func DefaultConfig() Config {
	var c Config
	for i := range Settings {
		if err := Settings[i].set(&c, Settings[i].Default); err != nil {
			panic(fmt.Sprintf("default of %s: %v", Settings[i].Key, err)) // fixed at compile time
		}
	}
	return c
}

// SocketPath returns where the operator's socket is: as configured, else
// /run/picloud/picloud.sock for an installed node, else in the data directory.
func (c Config) SocketPath() string {
	switch {
	case c.Socket != "":
		return c.Socket
	case c.Data == DefaultData:
		return "/run/picloud/picloud.sock"
	}
	return filepath.Join(c.Data, "picloud.sock")
}

func (c Config) spoolPath() string {
	if c.Spool == "" {
		return filepath.Join(c.Data, "spool")
	}
	return c.Spool
}

// DefaultApps is where an installed node looks for apps.
const DefaultApps = "/etc/picloud/apps.d"

// appsDir returns where apps are looked for; empty: nowhere.
func (c Config) appsDir() string {
	switch {
	case c.Apps == "off", c.Apps == "" && c.Data != DefaultData:
		return ""
	case c.Apps == "":
		return DefaultApps
	}
	return c.Apps
}

// Setting is one thing a node can be told.
type Setting struct {
	Key     string // in the configuration file, with its table
	Env     string // variable
	Flag    string // of `picloud serve`; empty: none
	Default string // as text; empty: see Text
	Text    string // meaning, unit, special values
	Live    bool   // a reload applies it; otherwise a restart does
	field[Config]
}

// Settings is the one table of settings: loading, errors, `config show`,
// picloud.toml(5), docs/config.md and packaging/picloud.toml come from it.
var Settings = []Setting{
	{"data", "PICLOUD_DATA", "data", DefaultData, "Data directory.", false, text(func(c *Config) *string { return &c.Data })},
	{"listen", "PICLOUD_LISTEN", "listen", "0.0.0.0:7420", "Address and port for HTTP. The default serves the LAN; 127.0.0.1:7420 this machine alone. Under systemd picloud.socket says it, and a setting that says something else stops the start.", false, text(func(c *Config) *string { return &c.Listen })},
	{"socket", "PICLOUD_SOCKET", "socket", "", "Unix socket for the operator. Default: /run/picloud/picloud.sock, or picloud.sock in a data directory of your own.", false, text(func(c *Config) *string { return &c.Socket })},
	{"name", "PICLOUD_NAME", "", "", "Name of the node, for people. Default: the host name.", false, text(func(c *Config) *string { return &c.Name })},
	{"operator_group", "PICLOUD_OPERATOR_GROUP", "", "picloud", "Members of this group may use the socket, as root may.", false, text(func(c *Config) *string { return &c.OperatorGroup })},
	{"trusted_proxies", "PICLOUD_TRUSTED_PROXIES", "", "", "Addresses or networks whose X-Forwarded-For and X-Forwarded-Host are believed: a list, in the variable separated by commas.", false, proxies},

	{"http.allowed_hosts", "PICLOUD_HTTP_ALLOWED_HOSTS", "", "", "Names under which browsers reach the node beside its IP addresses, its host name, NAME.local, localhost and the names of its certificate, such as that of a proxy: a list of pi.example.org or *.example.org, in the variable separated by commas. Requests to others get 421, so that no page of another site reaches the node under its own name.", true, hosts},

	{"http.tls_cert", "PICLOUD_HTTP_TLS_CERT", "", "", "File with the certificate of the node, its chain behind it, in PEM; with http.tls_key HTTPS is served, too. Both files are read again when they change. 'picloud tls self-signed' makes them. Empty: no HTTPS.", false, text(func(c *Config) *string { return &c.TLSCert })},
	{"http.tls_key", "PICLOUD_HTTP_TLS_KEY", "", "", "File with the private key of that certificate in PEM, which the node's user can read.", false, text(func(c *Config) *string { return &c.TLSKey })},
	{"http.tls_listen", "PICLOUD_HTTP_TLS_LISTEN", "", "0.0.0.0:7443", "Address and port for HTTPS, beside HTTP on listen. For HTTPS alone set listen to 127.0.0.1:7420.", false, text(func(c *Config) *string { return &c.TLSListen })},
	{"http.max_connections", "PICLOUD_HTTP_MAX_CONNECTIONS", "", "0", "Connections over TCP, without streams. 0: from the board's memory and the descriptor limit, up to 4096.", false, number(func(c *Config) *int { return &c.HTTPLimits.MaxConnections }, 0, 1_000_000)},
	{"http.max_per_address", "PICLOUD_HTTP_MAX_PER_ADDRESS", "", "0", "Connections of one IPv4 address or IPv6 /64; trusted proxies have no such limit. 0: a quarter of the total, and three quarters for an address of the loopback.", false, number(func(c *Config) *int { return &c.HTTPLimits.MaxPerAddress }, 0, 1_000_000)},
	{"http.max_uploads", "PICLOUD_HTTP_MAX_UPLOADS", "", "32", "Files that arrive at the same time.", false, number(func(c *Config) *int { return &c.HTTPLimits.MaxUploads }, 1, 10_000)},
	{"http.max_uploads_per_app", "PICLOUD_HTTP_MAX_UPLOADS_PER_APP", "", "0", "Files of one app that arrive at the same time. 0: a quarter of the total.", false, number(func(c *Config) *int { return &c.HTTPLimits.MaxUploadsPerApp }, 0, 10_000)},
	{"http.min_upload_rate_bytes", "PICLOUD_HTTP_MIN_UPLOAD_RATE_BYTES", "", "1024", "Rate at which a file has to arrive at least, on average over 10 seconds.", false, in("bytes per second", number(func(c *Config) *int { return &c.HTTPLimits.MinUploadRate }, 1, 1<<30))},

	{"memory.budget_bytes", "PICLOUD_MEMORY_BUDGET_BYTES", "", "0", "Memory that requesters may make the node hold: bodies, answers, scripts that wait, what slow subscribers have not taken. More is refused with 429 or 503. At least 16 MiB. 0: an eighth of the board's memory, up to 256 MiB.", false, in("bytes", number(func(c *Config) *int { return &c.MemoryBudget }, 0, 1<<30))},

	{"publish.max_bytes", "PICLOUD_PUBLISH_MAX_BYTES", "", "262144", "Largest event.", false, in("bytes", number(func(c *Config) *int { return &c.PublishMaxBytes }, 1, picloud.LimitMaxData))},

	{"realtime.heartbeat_sec", "PICLOUD_REALTIME_HEARTBEAT_SEC", "", "30", "Silence after which a stream gets a comment.", false, seconds(func(c *Config) *time.Duration { return &c.Heartbeat }, 3600)},
	{"realtime.broadcast_capacity", "PICLOUD_REALTIME_BROADCAST_CAPACITY", "", "64", "Events a slow subscriber may fall behind on a topic before it gets a gap.", false, number(func(c *Config) *int { return &c.Capacity }, 1, 10_000)},
	{"realtime.write_timeout_sec", "PICLOUD_REALTIME_WRITE_TIMEOUT_SEC", "", "30", "Time after which a subscriber that takes nothing is cut.", false, seconds(func(c *Config) *time.Duration { return &c.WriteTimeout }, 3600)},
	{"realtime.max_subscribers", "PICLOUD_REALTIME_MAX_SUBSCRIBERS", "", "0", "Streams in total. 0: from the board's memory.", false, number(func(c *Config) *int { return &c.MaxSubscribers }, 0, 1_000_000)},
	{"realtime.max_per_app", "PICLOUD_REALTIME_MAX_PER_APP", "", "0", "Streams of one app. 0: as in total.", false, number(func(c *Config) *int { return &c.MaxPerApp }, 0, 1_000_000)},
	{"realtime.max_per_address", "PICLOUD_REALTIME_MAX_PER_ADDRESS", "", "0", "Streams of one address. 0: a quarter of the total.", false, number(func(c *Config) *int { return &c.MaxPerAddress }, 0, 1_000_000)},

	{"subscriber_token.ttl_min_sec", "PICLOUD_SUBSCRIBER_TOKEN_TTL_MIN_SEC", "", "10", "Shortest life of a subscriber token.", false, seconds(func(c *Config) *time.Duration { return &c.TokenTTLMin }, 1<<31-1)},
	{"subscriber_token.ttl_max_sec", "PICLOUD_SUBSCRIBER_TOKEN_TTL_MAX_SEC", "", "86400", "Longest life of a subscriber token.", false, seconds(func(c *Config) *time.Duration { return &c.TokenTTLMax }, 1<<31-1)},
	{"subscriber_token.ttl_default_sec", "PICLOUD_SUBSCRIBER_TOKEN_TTL_DEFAULT_SEC", "", "3600", "Life of a subscriber token whose request names none.", false, seconds(func(c *Config) *time.Duration { return &c.TokenTTLDefault }, 1<<31-1)},

	{"retention.max_events", "PICLOUD_RETENTION_MAX_EVENTS", "", "10000", "Newest events that are kept of a topic without such a limit of its own.", false, number(func(c *Config) *int { return &c.Retention.MaxEvents }, 1, 1<<31-1)},
	{"retention.max_age_sec", "PICLOUD_RETENTION_MAX_AGE_SEC", "", "604800", "Age up to which events are kept of a topic without such a limit of its own.", false, seconds(func(c *Config) *time.Duration { return &c.Retention.MaxAge }, 1<<31-1)},
	{"retention.max_bytes", "PICLOUD_RETENTION_MAX_BYTES", "", "67108864", "Data that is kept of a topic without such a limit of its own.", false, size(func(c *Config) *int64 { return &c.Retention.MaxBytes }, 1)},

	{"storage.journal_bytes", "PICLOUD_STORAGE_JOURNAL_BYTES", "", "268435456", "Disk budget of the journal; beyond it the oldest history goes.", false, size(func(c *Config) *int64 { return &c.JournalBytes }, 1<<20)},
	{"storage.segment_bytes", "PICLOUD_STORAGE_SEGMENT_BYTES", "", "8388608", "Size of the files that the journal consists of. The disk budget should be many of them, and no request may publish more than a quarter of one.", false, sizeWithin(func(c *Config) *int64 { return &c.SegmentBytes }, 64<<10, 1<<30)},
	{"storage.checkpoint_bytes", "PICLOUD_STORAGE_CHECKPOINT_BYTES", "", "16777216", "Bytes of journal after which state.db is brought up to date; a start reads at most that much again, twice as much after heat or a lack of power.", false, size(func(c *Config) *int64 { return &c.CheckpointBytes }, 64<<10)},
	{"storage.reserve_bytes", "PICLOUD_STORAGE_RESERVE_BYTES", "", "67108864", "Free bytes left to others; below it publishing is refused. -1: none.", false, size(func(c *Config) *int64 { return &c.ReserveBytes }, -1)},
	{"storage.wear_budget_bytes", "PICLOUD_STORAGE_WEAR_BUDGET_BYTES", "", "1073741824", "Bytes a day the card should bear; beyond it 'picloud doctor' warns.", false, size(func(c *Config) *int64 { return &c.WearBudget }, 1)},
	{"storage.intake", "PICLOUD_STORAGE_INTAKE", "", "4096", "Requests that may wait to be written, of one app at most half; more are refused with 503.", false, number(func(c *Config) *int { return &c.Intake }, 1, 1_000_000)},

	{"database.url", "PICLOUD_DATABASE_URL", "", "", "Postgres to copy the node to, such as postgres://user:password@host/database?sslmode=verify-full. A URL with a password is better kept in database.url_file, since all users of a machine may read its configuration. Empty: none.", true, secretURL(func(c *Config) *string { return &c.DatabaseURL })},
	{"database.direct_url", "PICLOUD_DATABASE_DIRECT_URL", "", "", "The database of database.url past a pooler such as PgBouncer, for notifications between nodes of a cluster. Empty: database.url, and behind a pooler they look each second.", false, secretURL(func(c *Config) *string { return &c.DatabaseDirectURL })},
	{"database.url_file", "PICLOUD_DATABASE_URL_FILE", "", "", "File that holds database.url instead; it is read again for every connection.", false, text(func(c *Config) *string { return &c.DatabaseURLFile })},
	{"database.schema", "PICLOUD_DATABASE_SCHEMA", "", pgsync.DefaultSchema, "Schema of the tables in Postgres.", false, text(func(c *Config) *string { return &c.DatabaseSchema })},
	{"database.migrate", "PICLOUD_DATABASE_MIGRATE", "", "true", "Whether the node may bring the tables up to date; false leaves that to 'picloud migrate up'.", false, yesNo(func(c *Config) *bool { return &c.DatabaseMigrate })},

	{"database.files", "PICLOUD_DATABASE_FILES", "", "true", "Whether contents of files are copied, too; false where the link is too thin, and Postgres then only knows what there is.", false, yesNo(func(c *Config) *bool { return &c.DatabaseFiles })},

	{"clock", "PICLOUD_CLOCK", "", clockAuto, "Whether events published before the board knows the time are marked: auto, when it is a board without a battery for its clock and until the kernel says that it is synchronised; kernel, whatever it is; trusted, never.", false, oneOf(func(c *Config) *string { return &c.Clock }, clockAuto, clockKernel, clockTrusted)},
	{"cluster", "PICLOUD_CLUSTER", "", "off", "postgres: subscribers here hear, live, what other nodes of the same database publish to the same app and topic; off: only this node.", false, oneOf(func(c *Config) *string { return &c.Cluster }, "off", "postgres")},

	{"cron.tick_interval_ms", "PICLOUD_CRON_TICK_INTERVAL_MS", "", "1000", "Time between looks at the clock for triggers of kind cron.", false, millis(func(c *Config) *time.Duration { return &c.CronTick }, 60_000)},
	{"scripts.workers", "PICLOUD_SCRIPTS_WORKERS", "", "4", "Scripts that run at the same time, each in a process of its own; one app gets all but one of them at most.", false, number(func(c *Config) *int { return &c.ScriptWorkers }, 2, 64)},
	{"scripts.sandbox", "PICLOUD_SCRIPTS_SANDBOX", "", "true", "Whether the kernel denies the processes of scripts files, sockets and programs; false only where its filters cannot be loaded.", false, yesNo(func(c *Config) *bool { return &c.ScriptSandbox })},

	{"scripts.http_hosts", "PICLOUD_SCRIPTS_HTTP_HOSTS", "", "", "Hosts that scripts may ask over HTTP: a list of host, host:port, *.domain, addresses or *, in the variable separated by commas. Empty: none.", false, httpHosts},
	{"secrets.key_file", "PICLOUD_SECRETS_KEY_FILE", "", "", "File whose content encrypts the secrets of apps, such as a credential of systemd. Default: the node's own recovery key, which lies in its data directory.", false, text(func(c *Config) *string { return &c.SecretsKey })},

	{"files.max_bytes", "PICLOUD_FILES_MAX_BYTES", "", "268435456", "Largest file of an app.", false, sizeWithin(func(c *Config) *int64 { return &c.MaxFile }, 1, min(most, math.MaxInt))}, // as far as the HTTP library counts on this board

	{"quota.data_bytes", "PICLOUD_QUOTA_DATA_BYTES", "", "0", "Bytes of key-value pairs, documents and files that each app may keep, their names included; more is refused with 507. 0: as many as fit.", false, size(func(c *Config) *int64 { return &c.DataBytes }, 0)},
	{"quota.result_bytes", "PICLOUD_QUOTA_RESULT_BYTES", "", "67108864", "Bytes of answers that each app may keep for callers with a key whose requests are answered later, and as many bytes of such requests that wait.", false, size(func(c *Config) *int64 { return &c.ResultBytes }, 2<<20)},
	{"quota.anonymous_result_bytes", "PICLOUD_QUOTA_ANONYMOUS_RESULT_BYTES", "", "33554432", "Bytes of requests that are answered later, and of their answers, that each app may keep for anonymous callers; a request takes 1 MiB until it is answered.", false, size(func(c *Config) *int64 { return &c.AnonymousBytes }, 2<<20)},
	{"quota.idempotency_keys", "PICLOUD_QUOTA_IDEMPOTENCY_KEYS", "", "200000", "Idempotency keys that each app may use in 24 hours; each 64 bytes count as one.", false, count(func(c *Config) *int64 { return &c.IdempotencyKeys })},
	{"quota.topic_names", "PICLOUD_QUOTA_TOPIC_NAMES", "", "4000", "Names of topics, registered ones aside, under which each app may have events. One costs up to 13 kB of memory, 400 bytes for each file of the journal.", false, count(func(c *Config) *int64 { return &c.TopicNames })},

	{"hw.driver", "PICLOUD_HW_DRIVER", "", hw.DriverKernel, "What the pins below hw.inputs and hw.outputs are: kernel, lines of this board; sim, of one that does not exist, for development.", false, oneOf(func(c *Config) *string { return &c.Driver }, hw.DriverKernel, hw.DriverSim)},
	{"hw.health_every", "PICLOUD_HW_HEALTH_EVERY", "", "10s", "Time between two values of $board/health while a stream carries it, such as 10s or 1m.", false, interval(func(c *Config) *time.Duration { return &c.HealthEvery }, time.Second, time.Hour)},
	{"hw.warm_celsius", "PICLOUD_HW_WARM_CELSIUS", "", "75", "Temperature of the processor in °C from which on the board counts as hot: $board/power says so, and background work goes slower.", false, in("°C", number(func(c *Config) *int { return &c.WarmCelsius }, 20, 120))},

	{"apps_dir", "PICLOUD_APPS_DIR", "", "", "Folder whose folders are apps: each has an app.toml, and is applied when it changes. Default: /etc/picloud/apps.d for an installed node, else none; off: none.", false, text(func(c *Config) *string { return &c.Apps })},
	{"spool", "PICLOUD_SPOOL", "", "", "Folder for dropped files. Default: spool in the data directory; off: none.", false, text(func(c *Config) *string { return &c.Spool })},
	{"log.level", "PICLOUD_LOG_LEVEL", "", "info", "Least severe messages that are logged.", true, logLevel},
	{"log.format", "PICLOUD_LOG_FORMAT", "", "text", "Format of the log where the journal of systemd does not take it.", false, logFormat},
}

var proxies = field[Config]{
	Form: Form{Kind: KindList},
	set: func(c *Config, v string) error {
		c.TrustedProxies = nil
		for one := range strings.SplitSeq(v, ",") {
			if one = strings.TrimSpace(one); one == "" {
				continue
			}
			p, err := parseNetwork(one)
			if err != nil {
				return fmt.Errorf("%q: use an address such as 192.168.1.2 or a network such as 10.0.0.0/8", one)
			}
			c.TrustedProxies = append(c.TrustedProxies, p)
		}
		return nil
	},
	get: func(c *Config) string {
		texts := make([]string, len(c.TrustedProxies))
		for i, p := range c.TrustedProxies {
			texts[i] = p.String()
		}
		return strings.Join(texts, ",")
	},
}

func parseNetwork(v string) (netip.Prefix, error) {
	if strings.Contains(v, "/") {
		return netip.ParsePrefix(v)
	}
	addr, err := netip.ParseAddr(v)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

// check finds faults between settings.
func (c *Config) check() (faults []fault) {
	if c.Data == "" {
		faults = append(faults, fault{"data", errors.New("give a directory")})
	}
	if err := checkAddress(c.Listen); err != nil {
		faults = append(faults, fault{"listen", err})
	}
	if strings.HasPrefix(c.Socket, "@") {
		faults = append(faults, fault{"socket", fmt.Errorf("%q: give the path of a file; such a name has no owner who could protect it", c.Socket)})
	}
	if path := c.SocketPath(); len(path) > maxSocketPath {
		key := "socket"
		if c.Socket == "" {
			key = "data"
		}
		faults = append(faults, fault{key, fmt.Errorf("the path of the socket, %s, has %d bytes, and may have %d: use a shorter one", path, len(path), maxSocketPath)})
	}
	if c.TokenTTLMin > c.TokenTTLDefault || c.TokenTTLDefault > c.TokenTTLMax {
		faults = append(faults, fault{"subscriber_token", fmt.Errorf("the default (%v) must lie between the shortest (%v) and the longest (%v)", c.TokenTTLDefault, c.TokenTTLMin, c.TokenTTLMax)})
	}
	if c.Cluster == "postgres" && !c.HasDatabase() {
		faults = append(faults, fault{"cluster", errors.New("\"postgres\" needs database.url")})
	}
	faults = append(append(faults, c.checkOff()...), c.checkSpool()...)
	faults = append(faults, c.checkTLS()...)
	return append(append(faults, c.checkPins()...), c.checkSensors()...)
}

// Show returns the settings and their values, one a line.
func (c Config) Show() string {
	var b strings.Builder
	for i := range Settings {
		value := Settings[i].get(&c)
		if Settings[i].show != nil {
			value = Settings[i].show(value)
		}
		fmt.Fprintf(&b, "%-34s %s\n", Settings[i].Key, value)
	}
	c.showPins(&b)
	c.showSensors(&b)
	return b.String()
}
