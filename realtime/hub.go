package realtime

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/budget"
)

// History is what catching up reads from. Events are visible there before they
// are broadcast.
type History interface {
	Head(app string) (picloud.Position, error)
	CheckPosition(app string, topics []string, pos picloud.Position) error
	Floors(app string, topics []string) ([]uint64, error)
	Before(ctx context.Context, app string, topics []string, t time.Time) (uint64, error)
	Events(ctx context.Context, q picloud.HistoryQuery) (picloud.HistoryPage, error)
	Latest(ctx context.Context, app string, topics []string) ([]picloud.Event, error)
}

// Config configures a Hub. Zero values mean the defaults.
type Config struct {
	History        History
	Node           string        // the node's id, told in the first frame
	Capacity       int           // events a subscriber may fall behind on a topic; default 64
	Heartbeat      time.Duration // silence after which a comment is sent; default 30 s
	WriteTimeout   time.Duration // a socket that takes nothing for so long is cut; default 30 s
	Retry          time.Duration // base of the reconnection time told to browsers; default 2 s
	MaxSubscribers int           // in total; default from the board's memory and the descriptor limit
	MaxPerApp      int           // default: as in total
	MaxPerAddress  int           // default: a quarter of the total, at least 16
	Shards         int           // default: GOMAXPROCS
	Replayers      int           // goroutines that catch up; default 4
	Now            func() time.Time
	Budget         *budget.Budget // of what is kept for subscribers; nil: of the default size
	Logger         *slog.Logger   // nil: discard
	Metrics        *metrics.Set   // nil: not exported
}

func (c Config) withDefaults() Config {
	if c.Capacity <= 0 {
		c.Capacity = 64
	}
	if c.Heartbeat <= 0 {
		c.Heartbeat = 30 * time.Second
	}
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = 30 * time.Second
	}
	if c.Retry <= 0 {
		c.Retry = 2 * time.Second
	}
	if c.MaxSubscribers <= 0 {
		c.MaxSubscribers = defaultSubscribers()
	}
	if c.MaxPerApp <= 0 {
		c.MaxPerApp = c.MaxSubscribers
	}
	if c.MaxPerAddress <= 0 {
		c.MaxPerAddress = max(16, c.MaxSubscribers/4)
	}
	if c.Shards <= 0 {
		c.Shards = runtime.GOMAXPROCS(0)
	}
	if c.Replayers <= 0 {
		c.Replayers = 4
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = metrics.NewSet()
	}
	if c.Budget == nil {
		c.Budget = budget.New(0, c.Metrics)
	}
	return c
}

// Hub is the in-process broadcaster. Its methods are safe for concurrent use,
// but Broadcast and Revoke, which one goroutine calls in order.
type Hub struct {
	cfg     Config
	log     *slog.Logger
	began   time.Time
	limits  limits
	replay  replayQueue
	shards  []*shard
	turn    atomic.Uint32 // which shard is next
	metrics hubMetrics
	retain  int // entries a ring keeps for those who catch up
	states  states
	rings   ringBytes

	mu      sync.RWMutex // guards what follows; held for writing while a subscriber joins or leaves
	apps    map[string]*app
	stopped bool
}

// app is what the hub knows of one app.
type app struct {
	name  string
	epoch atomic.Uint64
	last  atomic.Uint64 // sequence of the newest event that is in the rings
	rings map[string]*ring
}

// New returns a Hub. It serves no stream until Run is called.
func New(cfg Config) (*Hub, error) {
	cfg = cfg.withDefaults()
	h := &Hub{cfg: cfg, began: time.Now(), log: cfg.Logger.With(slog.String("component", "realtime")), apps: map[string]*app{}, retain: max(cfg.Capacity, minRetain)}
	h.states.topic = map[string]*topicState{}
	h.limits.init(cfg)
	h.rings.limit = int64(cfg.Budget.Share(budget.Streams) / 2)
	h.replay.init()
	for i := range cfg.Shards {
		s, err := newShard(h, i)
		if err != nil {
			for _, made := range h.shards {
				made.poller.close()
			}
			return nil, err
		}
		h.shards = append(h.shards, s)
	}
	h.register(cfg.Metrics)
	return h, nil
}

// Run serves until ctx ends; then every stream is told and closed. It returns
// when everything it started has ended.
func (h *Hub) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, s := range h.shards {
		wg.Go(s.poll)
		wg.Go(s.run)
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	for range h.cfg.Replayers {
		wg.Go(func() { h.replay.work(work, h) })
	}
	<-ctx.Done()
	h.mu.Lock()
	h.stopped = true
	h.mu.Unlock()
	cancel()
	h.replay.close()
	for _, s := range h.shards {
		s.post(message{kind: msgStop})
	}
	wg.Wait()
	return nil
}

// Broadcast takes committed events to the rings of their topics. It never
// blocks on a subscriber and never fails: what goes wrong here must not concern
// the publisher.
func (h *Hub) Broadcast(events []picloud.Event) {
	defer func() {
		if r := recover(); r != nil {
			h.log.Error("broadcast panicked; subscribers recover by replay", slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
			h.startOver()
		}
	}()
	h.mu.RLock()
	defer h.mu.RUnlock()
	for i := range events {
		e := &events[i]
		a := h.apps[e.App]
		if a == nil {
			continue // there has never been a subscriber: Head will tell
		}
		if r := a.rings[e.Topic]; r != nil {
			r.add(e)
			h.touch(r)
		}
		a.last.Store(e.Seq)
	}
	for _, s := range h.shards {
		s.wakeDirty()
	}
	h.shrinkRings()
}

// startOver ends every stream and forgets the rings, which lack what could not
// be broadcast. Who comes back gets it from the history.
func (h *Hub) startOver() {
	h.mu.Lock()
	h.apps = map[string]*app{} // rings give their memory back as the last subscriber leaves
	h.mu.Unlock()
	for _, s := range h.shards {
		s.post(message{kind: msgBye, ending: ending{Reason: reasonError}})
	}
}

// touch marks a ring as having news for the shards that have subscribers of it.
func (h *Hub) touch(r *ring) {
	for i, s := range h.shards {
		if r.members[i].Load() > 0 {
			s.markDirty(r)
		}
	}
}

// app returns what is known of an app, asking the history the first time. The
// caller holds mu for writing.
func (h *Hub) app(name string) (*app, error) {
	if a := h.apps[name]; a != nil {
		return a, nil
	}
	head, err := h.cfg.History.Head(name)
	if err != nil {
		return nil, err
	}
	a := &app{name: name, rings: map[string]*ring{}}
	a.epoch.Store(uint64(head.Epoch))
	a.last.Store(head.Seq)
	h.apps[name] = a
	return a, nil
}

var errStopped = errors.New("hub has stopped")

// join registers a subscriber with the rings of its topics, which begin to fill
// if they are new.
func (h *Hub) join(s *subscriber) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return errStopped
	}
	a, err := h.app(s.sub.App)
	if err != nil {
		return err
	}
	s.app = a
	last := a.last.Load()
	for i, topic := range s.events {
		r := a.rings[topic]
		if r == nil {
			r = newRing(h, topic, last)
			a.rings[topic] = r
		}
		r.subscribers++
		r.members[s.shard.id].Add(1)
		s.cursors[i].ring = r
		s.cursors[i].next = r.end()
	}
	s.cursor = last
	if len(s.watches) > 0 {
		h.states.join(s.watches, s.latest)
	}
	return nil
}

// leave is the opposite; the last to leave a ring takes it away.
func (h *Hub) leave(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range s.cursors {
		r := s.cursors[i].ring
		if r == nil {
			continue
		}
		s.cursors[i].ring = nil
		r.members[s.shard.id].Add(-1)
		if r.subscribers--; r.subscribers == 0 {
			delete(s.app.rings, r.topic)
			r.forget()
		}
	}
	if s.app != nil && len(s.app.rings) == 0 && h.apps[s.app.name] == s.app {
		delete(h.apps, s.app.name)
	}
	if s.app != nil && len(s.watches) > 0 {
		h.states.leave(s.watches)
	}
}

// retry returns the reconnection time for one subscriber: spread, so that a
// restart does not bring everybody back at once.
func (h *Hub) retry() time.Duration {
	return h.cfg.Retry/2 + rand.N(h.cfg.Retry) // #nosec G404 -- spreads load, keeps no secret
}

// Beat returns nil when every shard goes round, and an error when ctx ends before: a shard
// hangs, or the hub does not run.
func (h *Hub) Beat(ctx context.Context) error {
	for _, s := range h.shards {
		select {
		case s.beat <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
