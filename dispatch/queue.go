package dispatch

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/backoff"
	"github.com/picloud/picloud/budget"
)

// queue carries out the deliveries to one trigger: up to so many at once, in order as far as
// they are not tried again, and with one at a time for a thing where the trigger
// wants that.
//
// The outbox has it all; a queue knows a part of it, and holds the data of those that run. A delivery that
// fails waits for its next attempt beside the others, so it holds up none of them
// but, in an ordered queue, those about the same thing.
type queue struct {
	cfg  DispatcherConfig
	log  *slog.Logger
	all  *counts
	stop context.CancelFunc
	last <-chan struct{} // closed when an earlier queue of the trigger has ended
	gone chan struct{}   // closed when this one has
	wake chan struct{}   // has room for one
	ends chan outcome

	// What only the queue's goroutine touches.
	read     uint64          // up to here it was read from the outbox
	more     bool            // there may be more behind that
	held     map[uint64]bool // what is ready, waits or runs, by LSN
	ready    []entry
	waits    waiting
	busy     map[uint32]bool    // in an ordered queue: what something runs or waits for
	blocked  map[uint32][]entry // in an ordered queue: what comes after that
	running  int
	outcomes []outcome // that the outbox does not know yet
	since    time.Time // when the oldest of them came
	urgent   bool      // one of them failed
	pause    backoff.Backoff

	mu     sync.Mutex // guards what follows
	t      picloud.Trigger
	back   uint64 // the oldest LSN that was enqueued since it was last looked at; 0: none
	status QueueStatus
}

// entry is a delivery that a queue knows. Its data is read when it begins to run.
type entry struct {
	lsn      uint64
	order    uint32 // of what it is about
	need     uint32 // bytes of memory that it takes; 0: its data was not read yet
	notUntil time.Time
}

// outcome is how a delivery went. Its data is not held any more.
type outcome struct {
	entry

	d   picloud.Delivery
	err error // picloud.ErrDeliveryGone: it could not be read
}

// readAhead is how many deliveries are read at once.
const readAhead = 128

func newQueue(cfg DispatcherConfig, t picloud.Trigger, log *slog.Logger, all *counts) *queue {
	return &queue{
		cfg: cfg, all: all, log: log.With(slog.String("app", t.App), slog.String("trigger", t.Name)), t: t, wake: make(chan struct{}, 1),
		ends: make(chan outcome, picloud.MaxConcurrency), more: true, held: map[uint64]bool{}, busy: map[uint32]bool{}, blocked: map[uint32][]entry{}, gone: make(chan struct{}),
		pause: backoff.Backoff{Min: time.Second, Max: time.Minute},
	}
}

func (q *queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// enqueued says that there is a delivery at an LSN.
func (q *queue) enqueued(lsn uint64) {
	q.mu.Lock()
	if q.back == 0 || lsn < q.back {
		q.back = lsn
	}
	q.mu.Unlock()
	q.nudge()
}

// change gives the queue what its trigger now says.
func (q *queue) change(t picloud.Trigger) {
	q.mu.Lock()
	changed := q.t != t
	q.t = t
	q.mu.Unlock()
	if changed {
		q.nudge()
	}
}

func (q *queue) trigger() picloud.Trigger {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.t
}

func (q *queue) told() QueueStatus {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.status
}

// run delivers until ctx ends and everything that was under way has ended.
func (q *queue) run(ctx context.Context) {
	defer close(q.gone)
	if q.last != nil {
		<-q.last
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		t := q.trigger()
		if t.Ordered || q.urgent {
			q.conclude(ctx, t)
		}
		if q.paused() == 0 {
			q.fill(t)
			q.begin(ctx, t)
		}
		if q.untilConclude() == 0 {
			q.conclude(ctx, t)
		}
		q.tell()
		timer.Reset(q.untilDue())
		select {
		case <-q.wake:
		case <-timer.C:
		case o := <-q.ends:
			q.took(o)
		case <-ctx.Done():
		}
	}
	for q.running > 0 {
		q.took(<-q.ends)
	}
	// What went well is noted although the queue stops: it need not happen again.
	q.conclude(context.WithoutCancel(ctx), q.trigger())
	q.all.load.held.Add(-int64(len(q.held)))
}

// took takes an end in, and all others that are there.
func (q *queue) took(o outcome) {
	for {
		q.running--
		q.note(o)
		select {
		case o = <-q.ends:
		default:
			return
		}
	}
}

// note keeps an outcome until the outbox knows it.
func (q *queue) note(o outcome) {
	if len(q.outcomes) == 0 {
		q.since = q.cfg.Now()
	}
	q.outcomes = append(q.outcomes, o)
	q.urgent = q.urgent || o.err != nil
}

// What went well is noted together with what follows soon: a note of its own for
// each would cost a good part of a short run.
const (
	concludeEvery = 10 * time.Millisecond
	concludeAt    = 32
)

// untilConclude is how long the outbox may still wait to know how deliveries went.
func (q *queue) untilConclude() time.Duration {
	switch {
	case len(q.outcomes) == 0:
		return time.Hour
	case q.urgent, q.running == 0, len(q.outcomes) >= concludeAt:
		return 0
	}
	return max(0, concludeEvery-q.cfg.Now().Sub(q.since))
}

// fill reads deliveries, as long as there is room for it.
func (q *queue) fill(t picloud.Trigger) {
	q.mu.Lock()
	if q.back != 0 {
		q.more = true
		q.read = min(q.read, q.back-1)
		q.back = 0
	}
	q.mu.Unlock()
	for q.more && len(q.ready) < readAhead && q.all.load.room(len(q.held)) {
		list, err := q.cfg.Outbox.Deliveries(t, q.read, readAhead)
		if err != nil {
			q.halt(fmt.Errorf("read deliveries: %w", err))
			return
		}
		for _, d := range list {
			q.read = d.LSN
			if !q.held[d.LSN] {
				q.held[d.LSN] = true
				q.all.load.held.Add(1)
				q.put(t, entry{lsn: d.LSN, order: d.Order, notUntil: d.NotUntil})
			}
		}
		q.more = len(list) > 0
	}
}

// put takes an entry to those that wait for their time, or are ready.
func (q *queue) put(t picloud.Trigger, e entry) {
	now := q.cfg.Now()
	if wait := e.notUntil.Sub(now); wait > 0 {
		e.notUntil = now.Add(min(wait, t.Retry.Max)) // by a clock that does not jump, and no longer than any pause
		if t.Ordered {
			q.busy[e.order] = true
		}
		heap.Push(&q.waits, e)
		return
	}
	q.ready = append(q.ready, e)
}

// begin starts what is ready, as far as the trigger lets it.
func (q *queue) begin(ctx context.Context, t picloud.Trigger) {
	now := q.cfg.Now()
	var again []entry
	for len(q.waits) > 0 && !q.waits[0].notUntil.After(now) {
		e, _ := heap.Pop(&q.waits).(entry)
		delete(q.busy, e.order)
		again = append(again, e)
	}
	if len(again) > 0 {
		q.ready = append(again, q.ready...)
	}
	for len(q.ready) > 0 && q.running < t.Concurrency && q.paused() == 0 {
		e := q.ready[0]
		if t.Ordered && q.busy[e.order] {
			q.ready = q.ready[1:]
			q.blocked[e.order] = append(q.blocked[e.order], e)
			continue
		}
		lease := q.all.load.lease(t.App)
		if !q.all.load.admits(q, &lease, max(firstDraw, int(e.need))) {
			return
		}
		q.ready = q.ready[1:]
		if !q.start(ctx, t, &e, &lease) {
			q.ready = append([]entry{e}, q.ready...)
		}
	}
}

// start begins one delivery, for which memory was drawn. It reports false when it is still
// to be done.
func (q *queue) start(ctx context.Context, t picloud.Trigger, e *entry, lease *budget.Lease) bool {
	begun := false
	defer func() {
		if !begun {
			q.all.load.end(lease)
		}
	}()
	d, ok, err := q.cfg.Outbox.DeliveryAt(t, e.lsn)
	switch {
	case errors.Is(err, picloud.ErrDeliveryGone):
		if t.Ordered {
			q.busy[e.order] = true
		}
		q.note(outcome{entry: *e, err: err})
		q.nudge() // what comes after it has its turn when that is concluded
		return true
	case err != nil:
		q.halt(fmt.Errorf("read deliveries: %w", err))
		return false
	case !ok: // purged, or given up
		q.release(*e)
		return true
	}
	e.need = uint32(2 * len(d.What.Data)) // #nosec G115 -- events are small; as it is, and as the input of its run
	if !q.all.load.admits(q, lease, max(firstDraw, int(e.need))) {
		return false
	}
	if t.Ordered {
		q.busy[e.order] = true
	}
	q.running++
	begun = true
	of := *e
	go func() {
		err := q.handle(ctx, t, d)
		d.What = picloud.Happening{}
		q.all.load.end(lease)
		q.ends <- outcome{entry: of, d: d, err: err}
	}()
	return true
}

// handle calls the handler. One that panics has failed.
func (q *queue) handle(ctx context.Context, t picloud.Trigger, d picloud.Delivery) (err error) {
	defer func() {
		if p := recover(); p != nil {
			q.log.Error("handler panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			err = errors.New("the node failed; its log has the cause")
		}
	}()
	if runsInCircles(&t, &d) {
		return circleError{}
	}
	return q.cfg.Handler.Handle(ctx, t, d)
}

// runsInCircles reports whether deliveries have led to one another so often that
// they would go on for ever. Who is to hear of that may still do so.
func runsInCircles(t *picloud.Trigger, d *picloud.Delivery) bool {
	if t.Kind == picloud.TriggerDeadLetter {
		return d.What.Hops > 2*picloud.MaxHops
	}
	return d.What.Hops > picloud.MaxHops
}

// circleError is why such a delivery is given up.
type circleError struct{}

// Error says what to do about it.
func (circleError) Error() string {
	return fmt.Sprintf("stopped: scripts have set each other off %d times in a row by what they wrote or published. Let the script write where its own trigger does not match; redriving this goes on for as many rounds again.", picloud.MaxHops)
}

// Permanent says that trying again does not help.
func (circleError) Permanent() bool { return true }

// conclude lets the outbox know how deliveries went. What cannot be noted now is
// noted later: nothing of it is begun again in between.
func (q *queue) conclude(ctx context.Context, t picloud.Trigger) {
	done, rest := split(q.outcomes, func(o outcome) bool { return o.err == nil })
	if len(done) > 0 {
		if err := q.cfg.Outbox.MarkDone(ctx, t, lsnsOf(done)); err != nil {
			q.halt(fmt.Errorf("note what is done: %w", err))
			return
		}
		for _, o := range done {
			q.release(o.entry)
		}
		q.succeeded(len(done))
	}
	q.outcomes = rest
	gone, failed := split(rest, func(o outcome) bool { return errors.Is(o.err, picloud.ErrDeliveryGone) })
	if len(gone) > 0 {
		if err := q.cfg.Outbox.GiveUp(ctx, t, lsnsOf(gone)); err != nil {
			q.halt(fmt.Errorf("note what is given up: %w", err))
			return
		}
		for _, o := range gone {
			q.release(o.entry)
		}
	}
	q.outcomes, q.urgent = failed, len(failed) > 0
	for len(q.outcomes) > 0 {
		if err := q.fail(ctx, t, q.outcomes[0]); err != nil {
			q.halt(fmt.Errorf("note what failed: %w", err))
			return
		}
		q.outcomes = q.outcomes[1:]
	}
	q.urgent = false
}

// split parts outcomes into those that are as is says, and others.
func split(outcomes []outcome, is func(o outcome) bool) (these, others []outcome) {
	for _, o := range outcomes {
		if is(o) {
			these = append(these, o)
		} else {
			others = append(others, o)
		}
	}
	return these, others
}

func lsnsOf(outcomes []outcome) []uint64 {
	lsns := make([]uint64, len(outcomes))
	for i, o := range outcomes {
		lsns[i] = o.lsn
	}
	return lsns
}

// release forgets a delivery that is done. The next one about the same thing
// gets its turn, before those that came after it.
func (q *queue) release(e entry) {
	q.forget(e.lsn)
	delete(q.busy, e.order)
	next := q.blocked[e.order]
	if len(next) == 0 {
		return
	}
	q.ready = append([]entry{next[0]}, q.ready...)
	if len(next) > 1 {
		q.blocked[e.order] = next[1:]
	} else {
		delete(q.blocked, e.order)
	}
}

// forget makes the queue know nothing of a delivery any more.
func (q *queue) forget(lsn uint64) {
	if q.held[lsn] {
		delete(q.held, lsn)
		q.all.load.held.Add(-1)
	}
}

// fail decides what becomes of a delivery that failed.
func (q *queue) fail(ctx context.Context, t picloud.Trigger, o outcome) error {
	d, e := o.d, o.entry
	if unavailable(o.err) {
		if ctx.Err() == nil {
			q.halt(o.err)
		}
		delete(q.busy, e.order)
		q.ready = append([]entry{e}, q.ready...)
		return nil
	}
	d.Attempts++
	reason := o.err.Error()
	d.Errors = append(slices.Clone(d.Errors[max(0, len(d.Errors)+1-picloud.MaxErrors):]), reason)
	q.failed()
	if permanent(o.err) || d.Attempts >= t.Retry.Attempts {
		if err := q.bury(ctx, t, d, reason); err != nil {
			return err
		}
		q.all.buried.Add(1)
		q.log.Warn("delivery was given up", slog.String("delivery", d.ID), slog.Int("attempt", d.Attempts), slog.String("err", reason))
		q.release(e)
		return nil
	}
	d.NotUntil = q.cfg.Now().Add(backoff.After(t.Retry.First, t.Retry.Max, d.Attempts)).UTC().Truncate(time.Microsecond)
	if err := q.cfg.Outbox.Postpone(ctx, t, d); err != nil {
		return err
	}
	e.notUntil = d.NotUntil
	q.put(t, e)
	return nil
}

// bury gives a delivery up, with its data if that is still there.
func (q *queue) bury(ctx context.Context, t picloud.Trigger, d picloud.Delivery, reason string) error {
	full, ok, err := q.cfg.Outbox.DeliveryAt(t, d.LSN)
	switch {
	case errors.Is(err, picloud.ErrDeliveryGone):
		return q.cfg.Outbox.GiveUp(ctx, t, []uint64{d.LSN}) //nolint:wrapcheck // the caller says what failed
	case err != nil:
		return err //nolint:wrapcheck // as above
	case !ok: // purged, or given up
		return nil
	}
	d.What = full.What
	return q.cfg.Outbox.Bury(ctx, t, d, reason) //nolint:wrapcheck // as above
}

// unavailable reports whether an error says that the delivery was not tried.
func unavailable(err error) bool {
	var u interface{ Unavailable() bool }
	return errors.Is(err, context.Canceled) || errors.As(err, &u) && u.Unavailable()
}

// halt pauses the queue because of an error.
func (q *queue) halt(err error) {
	now := q.cfg.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.status.Paused.After(now) {
		return // several were under way
	}
	if q.status.Error == "" {
		q.log.Warn("trigger pauses", slog.Any("err", err))
	}
	q.status.Error, q.status.Paused = err.Error(), now.Add(q.pause.Next())
}

// paused is how long the queue still pauses.
func (q *queue) paused() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return max(0, q.status.Paused.Sub(q.cfg.Now()))
}

func (q *queue) succeeded(n int) {
	q.pause.Reset()
	q.all.done.Add(uint64(n)) // #nosec G115 -- a length
	q.mu.Lock()
	defer q.mu.Unlock()
	q.status.Done += uint64(n) // #nosec G115 -- a length
	q.status.LastDone, q.status.Error, q.status.Paused = q.cfg.Now(), "", time.Time{}
}

func (q *queue) failed() {
	q.all.failed.Add(1)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.status.Failed++
}

func (q *queue) tell() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.status.Running, q.status.Waiting = q.running, len(q.ready)+len(q.waits)
}

// untilDue is how long there is nothing to do but wait for others.
func (q *queue) untilDue() time.Duration {
	if d := q.paused(); d > 0 {
		return d
	}
	d := q.untilConclude()
	if len(q.waits) > 0 {
		d = min(d, q.waits[0].notUntil.Sub(q.cfg.Now()))
	}
	return max(d, time.Millisecond)
}

// waiting is a heap of entries by when they are due.
type waiting []entry

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].notUntil.Before(w[j].notUntil) }
func (w waiting) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }

// Push implements heap.Interface.
func (w *waiting) Push(x any) {
	if e, ok := x.(entry); ok {
		*w = append(*w, e)
	}
}

// Pop implements heap.Interface.
func (w *waiting) Pop() any {
	old := *w
	e := old[len(old)-1]
	*w = old[:len(old)-1]
	return e
}
