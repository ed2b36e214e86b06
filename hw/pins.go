package hw

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/backoff"
	"github.com/picloud/picloud/board"
)

// Drivers of the pins.
const (
	DriverKernel = "kernel" // /dev/gpiochip*
	DriverSim    = "sim"    // a board that does not exist
)

// PinConfig says what a pin is.
type PinConfig struct {
	App    string // whom it belongs to
	Name   string
	Line   string // the kernel's name for it, or CHIP:OFFSET, such as gpiochip0:17
	Output bool
	Invert bool   // on is the low level
	Pull   string // of an input: "up", "down", "none"; empty: as it is

	// MinInterval is the shortest time between two events of an input, or two changes of an
	// output; 0: there is none.
	MinInterval time.Duration

	// Start and Stop are what an output is set to when the node starts and stops.
	Start, Stop bool

	// Follow is the topic of the app whose newest event says whether an output is on;
	// empty: none. FollowPath is the JSON pointer to true or false in its data.
	Follow, FollowPath string

	// Of an input that publishes events; the zero values of an input that only is read.
	Topic      string             // of its app; empty: no events
	Kind       string             // KindEdges, KindButton or KindCounter
	Edges      string             // which are told or counted: EdgesRising, EdgesFalling or EdgesBoth
	Debounce   time.Duration      // for which a level has to be still
	Hold       time.Duration      // of a button: after which it is held; 0: that is not told
	Double     time.Duration      // of a button: within which it is pressed twice; 0: that is not told
	Every      time.Duration      // of a counter: between two events
	Data       string             // template of the events; empty: that of the kind
	Durability picloud.Durability // of the topic, unless it is registered; empty: it is not registered
}

// reported returns which edges the line has to tell. A counter without debouncing gets
// those alone that it counts, so that the numbers of lost edges are numbers of pulses.
func (p *PinConfig) reported() (rising, falling bool) {
	if p.Topic == "" {
		return false, false
	}
	if p.Kind == KindCounter && p.Debounce == 0 {
		return p.Edges != EdgesFalling, p.Edges != EdgesRising
	}
	return true, true
}

// Config configures a Board.
type Config struct {
	Driver string // default DriverKernel
	Pins   []PinConfig
	Data   string       // directory whose disk counts
	Root   string       // of the kernel's files, for tests; default /
	Logger *slog.Logger // nil: none

	// Changed is called after a pin has changed: its level, a pulse, or whether it can
	// be used. It must not block, may be called concurrently, and reads the pin anew
	// with Pins, since a later change may be told before an earlier one. nil: not called.
	Changed func(app, pin string)

	History   History           // of the topics that outputs follow; nil: none
	Publisher picloud.Publisher // of the events of inputs; nil: there are none
	Store     Store             // with Publisher
}

// line is a line that was taken into use. Levels are those that count: inverted,
// where the pin says so.
type line interface {
	get() (on bool, err error)
	set(on bool) error
	Close() error
}

// chips opens lines.
type chips interface {
	open(p *PinConfig) (line, error)
}

// Board is the board of this node. It is safe for concurrent use.
type Board struct {
	cfg    Config
	log    *slog.Logger
	chips  chips
	pins   []*pin // by app and name
	health health
	wake   chan struct{} // makes Run look at the pins now

	followers map[topicKey][]*follower // never changed

	mu      sync.Mutex // guards what follows
	deleted []string   // apps that were deleted and whose outputs are not released yet
}

// pin is a pin and its line.
type pin struct {
	PinConfig
	input *input // nil: it publishes nothing

	mu   sync.Mutex // guards what follows; the kernel answers at once
	line line       // nil: not in use
	left bool       // it is not to be used any more
	output
	followed followed
}

// New returns a Board. Its pins are in use once it runs.
func New(cfg Config) *Board {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Board{cfg: cfg, log: cfg.Logger.With(slog.String("component", "hw")), chips: kernel{dev: "/dev"}, wake: make(chan struct{}, 1), followers: map[topicKey][]*follower{}}
	if cfg.Driver == DriverSim {
		b.chips = newSim()
	}
	b.health = health{root: cmp.Or(cfg.Root, "/"), data: cfg.Data}
	for _, c := range cfg.Pins {
		p := &pin{PinConfig: c, followed: followed{ready: c.Follow == ""}}
		if c.Topic != "" && cfg.Publisher != nil {
			var err error
			if p.input, err = newInput(&p.PinConfig, &b.cfg, b.log, func(l line) { b.lost(p, l) }, func() { b.changed(p) }); err != nil {
				b.log.Warn("input publishes no events", slog.String("app", c.App), slog.String("pin", c.Name), slog.Any("err", err))
			}
		}
		b.pins = append(b.pins, p)
		if c.Follow != "" {
			b.follow(p)
		}
	}
	slices.SortFunc(b.pins, func(a, b *pin) int { return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Name, b.Name)) })
	return b
}

// checkEvery is how often Run checks which pins can be used; retryEvery while an
// output is not yet at the level it has to be at.
const (
	checkEvery = 30 * time.Second
	retryEvery = time.Second
)

// inputEvery is how often Run checks pins when inputs publish events: before Linux 6.3 the
// kernel wakes no reader of a chip that is pulled out. firstCheck is the first pause after
// such an input could not be used.
const (
	inputEvery = 5 * time.Second
	firstCheck = time.Second
)

// Run takes the pins into use, outputs as they are to be at the start, and keeps
// them until ctx ends; then outputs are set as they are to be left behind. A pin
// that cannot be used is told once, and tried again.
func (b *Board) Run(ctx context.Context) error {
	b.recall(ctx)
	var followers sync.WaitGroup
	for _, list := range b.followers {
		for _, f := range list {
			followers.Go(func() { f.run(ctx, b) })
		}
	}
	var inputs sync.WaitGroup
	for _, p := range b.pins {
		if p.input != nil {
			inputs.Go(func() { p.input.read(ctx) })
			inputs.Go(func() { p.input.run(ctx) })
		}
	}
	faulty := map[*pin]bool{}
	again := backoff.Backoff{Min: firstCheck, Max: checkEvery}
	timer := time.NewTimer(checkEvery)
	defer timer.Stop()
	for ctx.Err() == nil {
		b.releaseDeleted()
		var due, listens, deaf bool
		for _, p := range b.pins {
			due = b.check(p, faulty) || due
			listens = listens || p.input != nil
			deaf = deaf || p.input != nil && faulty[p]
		}
		next := checkEvery
		switch {
		case deaf:
			next = again.Next()
		case listens:
			again.Reset()
			next = inputEvery
		}
		if due {
			next = min(next, retryEvery)
		}
		if timer.Stop(); len(b.pins) > 0 {
			timer.Reset(next)
		}
		select {
		case <-timer.C:
		case <-b.wake:
		case <-ctx.Done():
		}
	}
	followers.Wait()
	var faults []error
	for _, p := range b.pins {
		if err := p.leave(); err != nil {
			faults = append(faults, fmt.Errorf("pin %s of app %s: %w", p.Name, p.App, err))
		}
	}
	if err := errors.Join(faults...); err != nil {
		b.log.Warn("pins were not left as they should be", slog.Any("err", err))
	}
	inputs.Wait() // reading ends with the lines
	return nil
}

// check takes a pin into use if it is not, and tells when it becomes faulty or usable
// again. It reports whether an output still has to reach its level.
func (b *Board) check(p *pin, faulty map[*pin]bool) (due bool) {
	_, err := p.read(b.chips)
	switch {
	case err != nil && !faulty[p]:
		b.log.Warn("pin cannot be used; it is tried again", slog.String("app", p.App), slog.String("pin", p.Name), slog.Any("err", err))
	case err == nil && faulty[p]:
		b.log.Info("pin can be used again", slog.String("app", p.App), slog.String("pin", p.Name))
	}
	if faulty[p] != (err != nil) {
		b.changed(p)
	}
	faulty[p] = err != nil
	return err != nil && p.due()
}

// lost gives up the line of an input that tells no edges any more, and takes another.
func (b *Board) lost(p *pin, l line) {
	p.mu.Lock()
	if p.line == l {
		_ = l.Close() // it is gone
		p.line = nil
	}
	p.mu.Unlock()
	b.lookNow()
}

// changed tells of a change of a pin. The caller holds no lock.
func (b *Board) changed(p *pin) {
	if b.cfg.Changed != nil {
		b.cfg.Changed(p.App, p.Name)
	}
}

// with calls fn with the line of the pin, which is taken into use if it is not. A
// line that fails, such as that of a chip that was pulled out, is let go of, and
// taken anew at once: the chip may be back.
func (p *pin) with(from chips, fn func(line) error) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.left:
		return errStopped
	case !p.followed.ready:
		return errStarting
	}
	if p.line != nil {
		if err = fn(p.line); err == nil {
			return nil
		}
		_ = p.line.Close() // it is gone
	}
	cfg, by := p.PinConfig, ""
	switch {
	case p.followed.level != nil:
		cfg.Start, by = *p.followed.level, p.followSource()
	case p.wanted != nil:
		cfg.Start, by = *p.wanted, p.setBy
	}
	if p.line, err = from.open(&cfg); err != nil {
		p.line = nil
		return err
	}
	p.setBy, p.wanted, p.level, p.moved = by, nil, cfg.Start, time.Now()
	if p.input != nil {
		if err := p.attach(); err != nil {
			return err
		}
	}
	return fn(p.line)
}

// attach lets the input read the edges of the line that has come into use. The caller
// holds mu.
func (p *pin) attach() error {
	on, err := p.line.get()
	if err != nil {
		return err
	}
	if l, ok := p.line.(edgeLine); ok {
		p.input.attach(opened{line: l, at: time.Now(), on: on})
	}
	return nil
}

// read tells whether the pin is on.
func (p *pin) read(from chips) (on bool, err error) {
	err = p.with(from, func(l line) (err error) {
		on, err = l.get()
		return err
	})
	return on, err
}

// leave gives the line back, for good.
func (p *pin) leave() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = true
	p.stopPulse()
	p.giveUp(errStopped)
	if p.line == nil {
		return nil
	}
	if p.Output {
		err = p.line.set(p.Stop)
	}
	err = errors.Join(err, p.line.Close())
	p.line = nil
	return err
}

// Pins lists the pins of an app, by name.
func (b *Board) Pins(app string) []board.Pin {
	list := []board.Pin{}
	for _, p := range b.pins {
		if p.App == app {
			list = append(list, b.describe(p))
		}
	}
	return list
}

// Pin returns a pin of an app, or board.ErrPinNotFound.
func (b *Board) Pin(app, name string) (board.Pin, error) {
	p, err := b.find(app, name)
	if err != nil {
		return board.Pin{}, err
	}
	return b.describe(p), nil
}

// describe reads a pin.
func (b *Board) describe(p *pin) (one board.Pin) {
	err := p.with(b.chips, func(l line) (err error) {
		one, err = b.snapshot(p, l)
		return err
	})
	if err != nil {
		p.mu.Lock()
		one, _ = b.snapshot(p, nil)
		p.mu.Unlock()
		one.Fault = err.Error()
	}
	return one
}

// snapshot reads a pin by its line, while the caller holds the pin's lock; nil: it has
// none, and its level is unknown.
func (b *Board) snapshot(p *pin, l line) (board.Pin, error) {
	one := board.Pin{Follow: p.describeFollow(), App: p.App, Name: p.Name, Line: p.Line, Output: p.Output, Topic: p.Topic, Simulated: b.cfg.Driver == DriverSim}
	if l == nil {
		return one, nil
	}
	on, err := l.get()
	if err != nil {
		return one, err
	}
	one.On, one.ForMS, one.SetBy = &on, p.pulseMS(), p.setBy
	one.Pending = p.pending()
	return one, nil
}

// find returns a pin of an app.
func (b *Board) find(app, name string) (*pin, error) {
	i := slices.IndexFunc(b.pins, func(p *pin) bool { return p.App == app && p.Name == name })
	if i < 0 {
		return nil, board.ErrPinNotFound.Detailf("the node's configuration has no pin %q for the app %s, neither below hw.inputs nor below hw.outputs", name, app)
	}
	return b.pins[i], nil
}

// ReadPin tells whether a pin of an app is on. It returns board.ErrPinNotFound or
// board.ErrPinUnavailable.
func (b *Board) ReadPin(app, name string) (on bool, err error) {
	p, err := b.find(app, name)
	if err != nil {
		return false, err
	}
	on, err = p.read(b.chips)
	return on, unavailable(err)
}

// unavailable words why a pin cannot be used, for the caller.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return board.ErrPinUnavailable.Detailf("%v", err)
}

var (
	errStarting = errors.New("the node is starting")
	errStopped  = errors.New("the node is stopping")
)
