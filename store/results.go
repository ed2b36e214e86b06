package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud"
)

const tableResult table = 27 // app, zero byte, result id: what a request was answered later

var resultKind = rowKind{
	name: "results", data: true,
	expires:   func(row []byte) (int64, error) { r, err := decodeAs[resultRow](row); return r.Expires, err },
	committed: func(s *Store, ch change) { s.inbox.wake(string(ch.key)) },
	holds:     holdsResult,
	refers:    checkResult,
}

// checkResult checks a result that was not written here. No result is kept
// for longer than one that is made now.
func checkResult(_ *Store, ch change, now int64) error {
	r, err := decodeAs[resultRow](ch.value)
	if err != nil {
		return err
	}
	switch {
	case !slices.Contains([]string{picloud.ResultWaiting, picloud.ResultDone, picloud.ResultFailed}, r.State):
		return fmt.Errorf("its state is %q", r.State)
	case len(r.Output) > picloud.MaxOutput:
		return fmt.Errorf("its output has %d bytes, the limit is %d", len(r.Output), picloud.MaxOutput)
	case r.Held < 0 || r.Expires < 0 || r.Expires > now+resultsKept.Microseconds():
		return errors.New("it is kept for longer than a result may be")
	}
	return nil
}

// Requests that are answered later are deliveries to their endpoint. The result of one
// is kept for a day for a caller with a key, and for ten minutes after the answer for
// an anonymous caller. Both have a quota in each app, so that anonymous requests take
// nothing from callers with a key.
//
// An anonymous request sets room aside for its answer when it is accepted. One of a
// caller with a key does so when its script is about to run: as many as maxLater may
// wait, and none that was accepted is lost for want of room.

// How long results are kept.
const (
	resultsKept   = 24 * time.Hour
	anonymousKept = 10 * time.Minute
)

// maxLater bounds the requests to an endpoint that wait to be answered.
const maxLater = 1000

// How long a caller is told to wait when there is no room for another result.
const (
	retryResults   = time.Minute
	retryAnonymous = 30 * time.Second
)

// resultRow is what has become of a request.
type resultRow struct {
	State     string
	Output    []byte
	Expires   int64 // microseconds
	Response  bool
	Anonymous bool  `cbor:",omitempty"` // the caller showed no key
	Held      int64 `cbor:",omitempty"` // while it waits: bytes of the request, and of room for its answer
}

// holdsResult counts a result as that of a caller of its sort.
func holdsResult(u *usage, key, row []byte, sign int64) {
	r, _ := decodeAs[resultHead](row)
	n := amountOf(key, row, r.Held)
	switch {
	case r.Anonymous:
		u.anonymous.add(n, sign)
	case r.State == picloud.ResultWaiting:
		u.waiting.add(n, sign)
	default:
		u.results.add(n, sign)
	}
}

// resultHead is a resultRow without its output.
type resultHead struct {
	State     string
	Anonymous bool
	Held      int64
}

// inbox wakes readers that wait for results, and knows how much room for answers of
// scripts that run is set aside.
type inbox struct {
	mu      sync.Mutex
	waiters map[string]chan struct{} // by app, zero byte, id; closed when something has become of it
	running map[string]int64         // by app, bytes
}

// Accept enqueues a request, a picloud.LaterRequest as JSON, to the script of an
// endpoint, and returns the id of its result, which cannot be guessed. An error says
// that nothing was stored: picloud.ErrResultsFull when the app has no room for another
// result.
func (s *Store) Accept(ctx context.Context, e picloud.Endpoint, request []byte) (id string, err error) {
	row, err := waitingResult(request)
	if err != nil {
		return "", err
	}
	id = strings.ToLower(rand.Text())
	err = s.doSized(ctx, e.App, 3*recordCost+2*len(request), func(tx *tx) error {
		now, ok := tx.catalog.endpoints().Get(pair(e.App, e.Name))
		if !ok || now.ID != e.ID {
			return picloud.ErrEndpointNotFound
		}
		if tx.s.tables.count(tableDelivery, deliveryKey(e.App, e.ID, nil), maxLater) >= maxLater {
			return picloud.ErrBusy.Detailf("%d requests wait to be answered. Nothing was stored. Repeat the request after the time in Retry-After.", maxLater)
		}
		if err := tx.admitResult(e.App, row); err != nil {
			return err
		}
		tx.putResult(e.App, id, row)
		lsn := tx.lsn()
		tx.put(tableDelivery, deliveryKey(e.App, e.ID, &lsn), picloud.Happening{Kind: picloud.TriggerHTTP, At: fromMicros(tx.at), Name: id, Data: request})
		return nil
	})
	return id, err
}

// waitingResult returns the row of a request that is accepted.
func waitingResult(request []byte) (resultRow, error) {
	var later struct {
		About struct {
			Caller json.RawMessage `json:"caller"`
		} `json:"about"`
	}
	if err := json.Unmarshal(request, &later); err != nil {
		return resultRow{}, fmt.Errorf("read a request that is to be answered later: %w", err)
	}
	caller := later.About.Caller
	r := resultRow{State: picloud.ResultWaiting, Anonymous: len(caller) == 0 || string(caller) == "null", Held: int64(len(request))}
	if r.Anonymous {
		r.Held += picloud.MaxOutput
	}
	return r, nil
}

// admitResult returns picloud.ErrResultsFull when an app has no room for another result
// of that sort of caller.
func (t *tx) admitResult(app string, r resultRow) error {
	u := t.usage(app)
	if r.Anonymous {
		have, limit := u.anonymous, t.s.cfg.AnonymousBytes
		if have.rows >= t.s.cfg.Results || have.bytes+r.Held > limit {
			return picloud.ErrResultsFull.Detailf("The app keeps %d results of anonymous callers, which take %d of %d bytes; each is kept for %v. Nothing was stored. Repeat the request after the time in Retry-After, or with a key.",
				have.rows, have.bytes, limit, anonymousKept).After(retryAnonymous)
		}
		return nil
	}
	done, waiting, limit := u.results, u.waiting, t.s.cfg.ResultBytes
	if done.rows+waiting.rows >= t.s.cfg.Results || done.bytes+picloud.MaxOutput > limit || waiting.bytes+r.Held > limit {
		return picloud.ErrResultsFull.Detailf("The app keeps %d results, which take %d bytes, and %d requests wait, which take %d; each may take %d. Nothing was stored. Repeat the request after the time in Retry-After, or raise quota.result_bytes.",
			done.rows, done.bytes, waiting.rows, waiting.bytes, limit).After(retryResults)
	}
	return nil
}

// noRoomError says that a script does not run yet because its answer could not be kept.
type noRoomError struct{ have, limit int64 }

func (e *noRoomError) Error() string {
	return fmt.Sprintf("the results of the app take %d of %d bytes: requests wait until there is room for their answers; raise quota.result_bytes", e.have, e.limit)
}

// Unavailable says that the delivery was not tried.
func (*noRoomError) Unavailable() bool { return true }

// ReserveResult sets room aside for the answer to a request whose script is about to
// run, until release is called. An error that is Unavailable says that there is none
// now.
func (s *Store) ReserveResult(app, id string) (release func(), err error) {
	b := s.tables.get(tableResult, []byte(pair(app, id)))
	if b == nil {
		return func() {}, nil // the answer will not be kept
	}
	if r, err := decodeAs[resultHead](b); err != nil || r.Anonymous {
		return func() {}, err // an anonymous one has its room already
	}
	row, err := s.catalog.Load().app(app)
	if err != nil {
		return nil, err
	}
	i := &s.inbox
	i.mu.Lock()
	defer i.mu.Unlock()
	have := row.sequence.account.read().results.bytes + i.running[app]
	if have+picloud.MaxOutput > s.cfg.ResultBytes {
		return nil, &noRoomError{have: have, limit: s.cfg.ResultBytes}
	}
	if i.running == nil {
		i.running = map[string]int64{}
	}
	i.running[app] += picloud.MaxOutput
	return func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.running[app] -= picloud.MaxOutput; i.running[app] == 0 {
			delete(i.running, app)
		}
	}, nil
}

func (t *tx) putResult(app, id string, r resultRow) {
	kept := resultsKept
	if r.Anonymous && r.State != picloud.ResultWaiting {
		kept = anonymousKept
	}
	r.Expires = t.g.now + kept.Microseconds()
	t.put(tableResult, pair(app, id), r)
	t.s.commit.nextExpiry = min(t.s.commit.nextExpiry, r.Expires)
}

// SetResult keeps the answer to a request, unless its result is gone.
func (s *Store) SetResult(ctx context.Context, app, id string, r picloud.Result) error {
	return s.doSized(ctx, app, recordCost+len(r.Output), func(tx *tx) error {
		return tx.answer(app, id, resultRow{State: r.State, Output: r.Output, Response: r.Response})
	})
}

// answer keeps what has become of a request, unless its result is gone: then it has
// come to its end, or its app was deleted, and it cannot be asked for.
func (t *tx) answer(app, id string, r resultRow) error {
	b := t.get(tableResult, []byte(pair(app, id)))
	if b == nil {
		return nil
	}
	old, err := decodeAs[resultHead](b)
	if err != nil {
		return err
	}
	r.Anonymous = old.Anonymous
	t.putResult(app, id, r)
	return nil
}

// Result returns what has become of a request, or picloud.ErrResultNotFound.
func (s *Store) Result(app, id string) (picloud.Result, error) {
	b := s.tables.get(tableResult, []byte(pair(app, id)))
	if b == nil {
		return picloud.Result{}, picloud.ErrResultNotFound
	}
	var r resultRow
	if err := cborDecode(b, &r); err != nil {
		return picloud.Result{}, err
	}
	if micros(s.Now()) >= r.Expires {
		return picloud.Result{}, picloud.ErrResultNotFound
	}
	return picloud.Result{State: r.State, Output: r.Output, Response: r.Response}, nil
}

// ResultSet returns a channel that is closed when something has become of a request. It is for one
// who waits, and forgotten with stop.
func (s *Store) ResultSet(app, id string) (set <-chan struct{}, stop func()) {
	key := pair(app, id)
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	if s.inbox.waiters == nil {
		s.inbox.waiters = map[string]chan struct{}{}
	}
	ch, ok := s.inbox.waiters[key]
	if !ok {
		ch = make(chan struct{})
		s.inbox.waiters[key] = ch
	}
	return ch, func() {
		s.inbox.mu.Lock()
		defer s.inbox.mu.Unlock()
		if s.inbox.waiters[key] == ch {
			delete(s.inbox.waiters, key)
		}
	}
}

func (i *inbox) wake(key string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if ch, ok := i.waiters[key]; ok {
		close(ch)
		delete(i.waiters, key)
	}
}

// laterAttempts is how often a script may try to answer: its caller waits.
const laterAttempts = 3

// asTrigger is an endpoint as the dispatcher sees it.
func asTrigger(e picloud.Endpoint) picloud.Trigger {
	return picloud.Trigger{
		App: e.App, Name: e.Name, ID: e.ID, Kind: picloud.TriggerHTTP, Script: e.Script, Export: e.Export, Enabled: true,
		Timeout: e.Timeout, Concurrency: 4, Retry: picloud.Retry{Attempts: laterAttempts}, CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt,
	}.WithDefaults()
}

// failResult notes that a request will not be answered.
func (t *tx) failResult(app, id string) error {
	return t.answer(app, id, resultRow{State: picloud.ResultFailed})
}
