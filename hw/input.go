package hw

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/backoff"
)

// Store is what inputs need of the node's store.
type Store interface {
	// Note returns what was noted under a name; nil: nothing.
	Note(name string) []byte
	// SetNote notes a few bytes under a name. It returns when they are durable.
	SetNote(ctx context.Context, name string, value []byte) error
	// Newest returns the data of the newest event of a topic; nil: there is none.
	Newest(ctx context.Context, app, topic string) ([]byte, error)
	// EnsureTopic registers a topic unless there is one of its name. It returns the one
	// that there is.
	EnsureTopic(ctx context.Context, t picloud.Topic) (picloud.Topic, error)
}

// Pauses between attempts to publish what could not be.
const (
	publishRetry    = 250 * time.Millisecond
	publishMaxRetry = time.Minute
)

// lastWords is how long inputs have to publish what they hold when the node stops.
const lastWords = 2 * time.Second

// input publishes the events of a pin.
type input struct {
	pin       *PinConfig
	by        picloud.Principal
	publisher picloud.Publisher
	store     Store
	log       *slog.Logger
	simulated bool
	template  *template

	opened  chan opened   // has room for one: the line that came into use last
	lost    func(line)    // called when a line tells no edges any more
	changed func()        // called after edges
	wake    chan struct{} // has room for one

	edges, missed, events atomic.Uint64 // since the start; of edges as the line told them

	mu     sync.Mutex // guards what follows
	signal signal

	// The publishing goroutine's own.
	batch   []occurrence
	data    []byte
	drafts  []picloud.Draft
	warned  bool // that the topic has another durability
	failing bool // and that has been told
}

// opened is a line that came into use, and the level it had then.
type opened struct {
	line edgeLine
	at   time.Time
	on   bool
}

func newInput(p *PinConfig, cfg *Config, log *slog.Logger, lost func(line), changed func()) (*input, error) {
	t, err := parseTemplate(p.Kind, p.Data)
	if err != nil {
		return nil, err
	}
	return &input{
		pin: p, publisher: cfg.Publisher, store: cfg.Store, simulated: cfg.Driver == DriverSim, template: t,
		by:     picloud.Principal{Kind: picloud.KindDevice, Name: p.Name, App: p.App, Scopes: []picloud.Scope{picloud.ScopeAppPublish}},
		log:    log.With(slog.String("app", p.App), slog.String("pin", p.Name)),
		opened: make(chan opened, 1), lost: lost, changed: changed, wake: make(chan struct{}, 1), signal: newSignal(p),
	}, nil
}

// attach hands over a line that came into use. The one before it is closed.
func (in *input) attach(o opened) {
	select {
	case <-in.opened: // was closed before it was read
	default:
	}
	in.opened <- o // has room: pin.mu is held
}

// read reads the edges of the lines that come into use, one after the other, until ctx
// ends and the last one is closed.
func (in *input) read(ctx context.Context) {
	list := make([]edge, 0, readEdges)
	for {
		select {
		case o := <-in.opened:
			in.mu.Lock()
			in.signal.start(o.at, o.on)
			in.mu.Unlock()
			in.poke()
			var err error
			for err == nil {
				if list, err = o.line.edges(list[:0]); len(list) > 0 {
					in.feed(list, o.at)
				}
			}
			if !closedHere(err) && pause(ctx, firstCheck) {
				in.lost(o.line)
			}
		case <-ctx.Done():
			return
		}
	}
}

// feed takes edges of a line that came into use at a time. Older ones are in the level
// that it had then.
func (in *input) feed(list []edge, since time.Time) {
	missed := 0
	in.mu.Lock()
	for _, e := range list {
		missed += e.missed
		if !e.at.Before(since) || in.pin.Kind == KindCounter {
			in.signal.edge(e)
		}
	}
	in.mu.Unlock()
	in.edges.Add(uint64(len(list)))
	in.missed.Add(uint64(missed)) // #nosec G115 -- a count
	in.poke()
	in.changed()
}

func (in *input) poke() {
	select {
	case in.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

// run publishes what there is to tell until ctx ends.
func (in *input) run(ctx context.Context) {
	in.recall(ctx)
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastWords, cancel) })()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		in.mu.Lock()
		in.signal.advance(time.Now())
		in.batch = in.signal.take(in.batch[:0])
		next := in.signal.next()
		in.mu.Unlock()
		if len(in.batch) > 0 {
			in.publish(ctx, work)
			continue
		}
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-timer.C:
		case <-in.wake:
		case <-ctx.Done():
		}
	}
	in.finish(work)
}

// publish publishes the batch, however long it takes. What cannot be published becomes
// one event, together with what comes meanwhile, so that nothing is heaped up; it is
// tried again until ctx ends.
func (in *input) publish(ctx, work context.Context) {
	pause := backoff.Backoff{Min: publishRetry, Max: publishMaxRetry}
	for {
		err := in.try(work)
		if err == nil {
			if in.failing {
				in.failing = false
				in.log.Info("events of the pin are published again")
			}
			return
		}
		if !in.failing {
			in.failing = true
			in.log.Warn("events of the pin cannot be published; the newest is kept and tried again", slog.String("topic", in.pin.Topic), slog.Any("err", err))
		}
		timer := time.NewTimer(pause.Next())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return // finish tries once more
		}
		in.mu.Lock()
		in.signal.advance(time.Now())
		in.batch = in.signal.take(in.batch)
		in.mu.Unlock()
		in.batch = append(in.batch[:0], newest(in.batch))
	}
}

// newest returns the last occurrence of a list, which stands for all of them.
func newest(list []occurrence) occurrence {
	o := list[0]
	for _, next := range list[1:] {
		o = next.after(o)
	}
	return o
}

// try publishes the batch in one publication.
func (in *input) try(ctx context.Context) error {
	if err := in.ensureTopic(ctx); err != nil {
		return err
	}
	if in.pin.Kind == KindCounter { // durable before it is told, so that a restart cannot begin below it
		if err := in.note(ctx, in.batch[len(in.batch)-1].total); err != nil {
			return err
		}
	}
	in.data, in.drafts = in.data[:0], in.drafts[:0]
	for i := range in.batch {
		o := &in.batch[i]
		from := len(in.data)
		in.data = in.template.append(in.data, o, in.simulated)
		d := picloud.Draft{Topic: in.pin.Topic, Data: in.data[from:len(in.data):len(in.data)]}
		if in.pin.Kind != KindCounter && !o.initial {
			known := o.known // the event outlives the batch
			d.Edge = &known
		}
		in.drafts = append(in.drafts, d)
	}
	if _, err := in.publisher.Publish(ctx, picloud.Publication{App: in.pin.App, Drafts: in.drafts, By: in.by}); err != nil {
		return err
	}
	in.events.Add(uint64(len(in.batch)))
	return nil
}

// finish publishes what is held when the node stops, and notes the total of a counter.
func (in *input) finish(ctx context.Context) {
	in.mu.Lock()
	in.signal.flush(time.Now())
	in.batch = in.signal.take(in.batch)
	total, untold := in.signal.counter.total, in.signal.counter.count > 0
	in.mu.Unlock()
	var err error
	if untold {
		err = in.note(ctx, total)
	}
	if len(in.batch) > 0 {
		err = errors.Join(err, in.try(ctx))
	}
	if err != nil && !in.failing {
		in.log.Warn("the last event of the pin was not published", slog.Any("err", err))
	}
}

// noteName is under which name the total of a counter is noted.
func (in *input) noteName() string { return "hw.counter." + in.pin.App + "." + in.pin.Name }

func (in *input) note(ctx context.Context, total uint64) error {
	if err := in.store.SetNote(ctx, in.noteName(), strconv.AppendUint(nil, total, 10)); err != nil {
		return fmt.Errorf("note the total: %w", err)
	}
	return nil
}

// recall lets a counter go on from its total. Where none was noted, as on a card that was
// restored from Postgres, its newest event tells.
func (in *input) recall(ctx context.Context) {
	if in.pin.Kind != KindCounter {
		return
	}
	total, err := strconv.ParseUint(string(in.store.Note(in.noteName())), 10, 64)
	if err != nil {
		data, err := in.store.Newest(ctx, in.pin.App, in.pin.Topic)
		if err != nil && !errors.Is(err, picloud.ErrAppNotFound) {
			in.log.Warn("the total of the counter is not known; it begins at 0", slog.Any("err", err))
		}
		total = in.template.totalOf(data)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.signal.counter.total += total
}

// ensureTopic registers the topic of an input that asks for a durability. It may have gone
// with its app since the event before.
func (in *input) ensureTopic(ctx context.Context) error {
	if in.pin.Durability == "" {
		return nil
	}
	t, err := in.store.EnsureTopic(ctx, picloud.Topic{App: in.pin.App, Name: in.pin.Topic, Durability: in.pin.Durability})
	if err != nil {
		return fmt.Errorf("register the topic: %w", err)
	}
	if t.Durability != in.pin.Durability && !in.warned {
		in.warned = true
		in.log.Warn("the topic of the pin has another durability than the pin asks for, and keeps it; change one of them",
			slog.String("topic", in.pin.Topic), slog.String("durability", string(t.Durability)))
	}
	return nil
}

// InputCounts are what an input has seen since the start of the node.
type InputCounts struct {
	App, Pin string
	Edges    uint64 // that its line told
	Missed   uint64 // that were lost
	Events   uint64 // that were published
}

// Inputs counts what the inputs that publish events have seen.
func (b *Board) Inputs() (list []InputCounts) {
	for _, p := range b.pins {
		if in := p.input; in != nil {
			list = append(list, InputCounts{App: p.App, Pin: p.Name, Edges: in.edges.Load(), Missed: in.missed.Load(), Events: in.events.Load()})
		}
	}
	return list
}
