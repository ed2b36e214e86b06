package store

import (
	"context"
	"crypto/rand"
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
}

// Requests that are answered later are deliveries to their endpoint; what came of
// one is kept for a day, for whoever knows its id.

// resultsKept is how long results are kept.
const resultsKept = 24 * time.Hour

// maxLater bounds the requests to an endpoint that wait to be answered, which may
// come from anybody.
const maxLater = 1000

// resultRow is what has become of a request.
type resultRow struct {
	State    string
	Output   []byte
	Expires  int64 // microseconds
	Response bool
}

// inbox wakes who waits for results.
type inbox struct {
	mu      sync.Mutex
	waiters map[string]chan struct{} // by app, zero byte, id; closed when something has become of it
}

// Accept enqueues a request to the script of an endpoint, and returns the id of its
// result, which nobody can guess.
func (s *Store) Accept(ctx context.Context, e picloud.Endpoint, request []byte) (id string, err error) {
	id = strings.ToLower(rand.Text())
	err = s.doSized(ctx, 3*recordCost+2*len(request), func(tx *tx) error {
		now, ok := tx.catalog.endpoints().Get(pair(e.App, e.Name))
		if !ok || now.ID != e.ID {
			return picloud.ErrEndpointNotFound
		}
		if tx.s.tables.count(tableDelivery, deliveryKey(e.App, e.ID, nil), maxLater) >= maxLater {
			return picloud.ErrBusy.Detailf("%d requests wait to be answered. Nothing was stored. Repeat the request after the time in Retry-After.", maxLater)
		}
		tx.putResult(e.App, id, resultRow{State: picloud.ResultWaiting})
		lsn := tx.lsn()
		tx.put(tableDelivery, deliveryKey(e.App, e.ID, &lsn), picloud.Happening{Kind: picloud.TriggerHTTP, At: fromMicros(tx.at), Name: id, Data: request})
		return nil
	})
	return id, err
}

func (t *tx) putResult(app, id string, r resultRow) {
	r.Expires = t.at + resultsKept.Microseconds()
	t.put(tableResult, pair(app, id), r)
	t.s.commit.nextExpiry = min(t.s.commit.nextExpiry, r.Expires)
}

// SetResult keeps the answer to a request, unless its result is gone.
func (s *Store) SetResult(ctx context.Context, app, id string, r picloud.Result) error {
	return s.doSized(ctx, recordCost+len(r.Output), func(tx *tx) error {
		if tx.get(tableResult, []byte(pair(app, id))) == nil {
			return nil // it has come to its end, or its app was deleted: nobody can ask for it
		}
		tx.putResult(app, id, resultRow{State: r.State, Output: r.Output, Response: r.Response})
		return nil
	})
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
	if micros(s.cfg.Now()) >= r.Expires {
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

// laterAttempts is how often a script may try to answer: somebody waits.
const laterAttempts = 3

// asTrigger is an endpoint as the dispatcher sees it.
func asTrigger(e picloud.Endpoint) picloud.Trigger {
	return picloud.Trigger{
		App: e.App, Name: e.Name, ID: e.ID, Kind: picloud.TriggerHTTP, Script: e.Script, Export: e.Export, Enabled: true,
		Timeout: e.Timeout, Concurrency: 4, Retry: picloud.Retry{Attempts: laterAttempts}, CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt,
	}.WithDefaults()
}

// failResult notes that a request will not be answered.
func (t *tx) failResult(app, id string) { t.putResult(app, id, resultRow{State: picloud.ResultFailed}) }
