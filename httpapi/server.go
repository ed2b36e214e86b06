package httpapi

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/auth"
	"github.com/picloud/picloud/budget"
	"github.com/picloud/picloud/certificate"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/hw"
	"github.com/picloud/picloud/realtime"
	"github.com/picloud/picloud/script"
	"github.com/picloud/picloud/scrub"
	"github.com/picloud/picloud/store"
)

// Config configures a Server. Zero values mean the defaults.
type Config struct {
	Store     *store.Store
	Publisher picloud.Publisher
	Hub       *realtime.Hub
	Authority *auth.Authority
	Sync      *dispatch.Lane // nil: no copy in Postgres
	Scripts   *script.Runner
	Scrubber  *scrub.Scrubber // nil: the disk cannot be written
	Board     *hw.Board       // nil: without pins
	Monitor   *hw.Monitor     // of the board; nil: of this one, which is not watched

	Dispatcher *dispatch.Dispatcher
	Sensors    Sensors

	Version, Commit string
	Started         time.Time

	MaxData        int                 // bytes of one event, as the publisher has it
	OperatorGroup  string              // may use the Unix socket; default auth.DefaultGroup
	Ready, Alive   func() error        // nil: always
	TrustedProxies []netip.Prefix      // whose X-Forwarded-For and X-Forwarded-Host are believed
	Hosts          func() []string     // lower-case names of this node beside its IP addresses and localhost; *.domain: those below it; nil: none
	Certificate    *certificate.Keeper // for TLS; nil: none
	ReadTimeout    time.Duration       // for a whole request; default 10 s
	WriteTimeout   time.Duration       // for a response that does not move; default 60 s
	IdleTimeout    time.Duration       // between requests; default 60 s
	Limits                             // of connections and uploads
	Budget         *budget.Budget      // nil: of the default size
	Metrics        *metrics.Set
	Logger         *slog.Logger // nil: discard
	Now            func() time.Time
}

// Limits bound what one peer or one app takes of the server.
type Limits struct {
	MaxConnections   int // over TCP at the same time; default from the board's memory and the descriptor limit
	MaxPerAddress    int // of them from one IPv4 address or IPv6 /64; default a quarter, three quarters for this machine
	MaxUploads       int // files that arrive at the same time; default 32
	MaxUploadsPerApp int // of them for one app; default a quarter
	MinUploadRate    int // bytes per second, on average over ReadTimeout, below which an upload is cut; default 1024
}

func (c Config) withDefaults() Config {
	if c.MaxData <= 0 {
		c.MaxData = picloud.DefaultMaxData
	}
	if c.ReadTimeout <= 0 {
		c.ReadTimeout = 10 * time.Second
	}
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = 60 * time.Second
	}
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = 60 * time.Second
	}
	if c.MaxUploads <= 0 {
		c.MaxUploads = defaultUploads
	}
	if c.MaxUploadsPerApp <= 0 {
		c.MaxUploadsPerApp = max(1, c.MaxUploads/4)
	}
	if c.MinUploadRate <= 0 {
		c.MinUploadRate = defaultRate
	}
	if c.Board == nil {
		c.Board = hw.New(hw.Config{})
	}
	if c.Monitor == nil {
		c.Monitor = hw.NewMonitor(hw.MonitorConfig{Board: c.Board})
	}
	if c.Metrics == nil {
		c.Metrics = metrics.NewSet()
	}
	if c.Budget == nil {
		c.Budget = budget.New(0, c.Metrics)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Hosts == nil {
		c.Hosts = func() []string { return nil }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Started.IsZero() {
		c.Started = c.Now()
	}
	return c
}

// Server serves the HTTP surface on any number of listeners.
type Server struct {
	cfg     Config
	log     *slog.Logger
	routes  []route
	router  router
	http    *fasthttp.Server
	openapi func() ([]byte, error)
	metrics requestMetrics

	stopping    chan struct{} // closed when no request should wait any longer
	connections *connections
	uploads     *uploads

	mu        sync.Mutex // guards what follows
	listeners []net.Listener
	stopped   bool
}

// maxBody is the largest request: a full batch with its wrapping.
const maxBody = picloud.MaxBatchBytes + 512<<10

// New returns a Server over the parts in cfg.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg.withDefaults(), stopping: make(chan struct{})}
	s.log = s.cfg.Logger.With(slog.String("component", "httpapi"))
	s.connections, s.uploads = newConnections(&s.cfg, s.log, s.trusted), newUploads(&s.cfg)
	s.routes = s.table()
	s.router = newRouter(s.routes)
	s.openapi = sync.OnceValues(s.document) // makes a start on a slow board shorter
	s.metrics.register(s.cfg.Metrics)
	if s.cfg.Certificate != nil {
		measureCertificate(s.cfg.Metrics, s.cfg.Certificate)
	}
	s.http = &fasthttp.Server{
		Handler:                       s.handle,
		ErrorHandler:                  s.refuse,
		ExpectHandler:                 s.expect,
		NoDefaultServerHeader:         true,
		ReadTimeout:                   s.cfg.ReadTimeout,
		WriteTimeout:                  s.cfg.WriteTimeout,
		IdleTimeout:                   s.cfg.IdleTimeout,
		Concurrency:                   s.connections.total + leastByDefault, // of each listener; some have just been closed
		ConnState:                     connectionState,
		MaxIdleWorkerDuration:         time.Second, // a goroutine that rests is memory
		StreamRequestBody:             true,        // see arrive.go, where its size is looked at, too
		MaxRequestBodySize:            math.MaxInt,
		DisablePreParseMultipartForm:  true,
		ReadBufferSize:                16 << 10, // 64 topics and a token in one URL
		ReduceMemoryUsage:             true,
		CloseOnShutdown:               true,
		KeepHijackedConns:             true, // a stream belongs to the hub
		DisableHeaderNamesNormalizing: false,
		Logger:                        log.New(io.Discard, "", 0), // its lines carry what peers send
	}
	return s
}

// Serve answers on a TCP listener, where a bearer credential identifies the caller. It
// returns nil after Shutdown.
func (s *Server) Serve(ln net.Listener) error {
	return s.serve(limitedListener{ln, s.connections, false})
}

// ServeLocal answers on a Unix socket, where the kernel identifies the caller; a bearer
// credential wins over that. It returns nil after Shutdown.
func (s *Server) ServeLocal(ln net.Listener) error { return s.serve(ln) }

func (s *Server) serve(ln net.Listener) error {
	s.mu.Lock()
	s.listeners = append(s.listeners, ln)
	stopped := s.stopped
	s.mu.Unlock()
	if stopped {
		return ln.Close()
	}
	err := s.http.Serve(patientListener{ln, s.log})
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Shutdown stops accepting and waits until all requests are answered or ctx
// ends. Streams are not touched.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.stopped {
		s.stopped = true
		close(s.stopping)
	}
	listeners := s.listeners
	s.mu.Unlock()
	err := s.http.ShutdownWithContext(ctx)
	for _, ln := range listeners { // one that was not served yet when the server looked
		_ = ln.Close() // most are closed already
	}
	return err
}
