package store

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/tidwall/btree"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/pathpattern"
)

const tableEndpoint table = 25 // app, zero byte, endpoint name

var endpointKind = rowKind{
	name: "endpoints", catalog: inMemory[picloud.Endpoint],
	committed: func(s *Store, _ change) { s.commit.triggersChanged = true },
	refers: func(s *Store, ch change, _ int64) error {
		e, err := decodeAs[picloud.Endpoint](ch.value)
		if err != nil {
			return err
		}
		return s.hasScript(e.App, e.Script, picloud.ErrEndpointInvalid)
	},
	copied: copies[picloud.Endpoint]{
		as: picloud.ChangeEndpoint, limit: picloud.MaxEndpoints,
		check: checkedBy(func(e picloud.Endpoint) error {
			return errors.Join(check.Handle("endpoint's id", e.ID), check.Endpoint(e))
		}),
		to: func(_ *restorer, e picloud.Endpoint) ([]change, error) {
			return putOf(tableEndpoint, pair(e.App, e.Name), e), nil
		},
	},
}

func (c *catalog) endpoints() *btree.Map[string, picloud.Endpoint] {
	return rowsOf[picloud.Endpoint](c, tableEndpoint)
}

// Endpoints returns the endpoints of an app, sorted by name.
func (s *Store) Endpoints(app string) ([]picloud.Endpoint, error) {
	c := s.catalog.Load()
	if _, err := c.app(app); err != nil {
		return nil, err
	}
	return under(c.endpoints(), pair(app, "")), nil
}

// Endpoint returns an endpoint, or picloud.ErrEndpointNotFound.
func (s *Store) Endpoint(app, name string) (picloud.Endpoint, error) {
	c := s.catalog.Load()
	if _, err := c.app(app); err != nil {
		return picloud.Endpoint{}, err
	}
	e, ok := c.endpoints().Get(pair(app, name))
	if !ok {
		return e, picloud.ErrEndpointNotFound
	}
	return e, nil
}

// SaveEndpoint makes an endpoint, or changes the one of that name. No other may
// answer at the same place.
func (s *Store) SaveEndpoint(ctx context.Context, e picloud.Endpoint) (picloud.Endpoint, error) {
	e = e.WithDefaults()
	if err := check.Endpoint(e); err != nil {
		return picloud.Endpoint{}, err
	}
	return ask(ctx, s, configOf(e.App), 0, func(tx *tx) (picloud.Endpoint, error) {
		if err := tx.needScript(e.App, e.Script, picloud.ErrEndpointInvalid); err != nil {
			return e, err
		}
		all := under(tx.catalog.endpoints(), pair(e.App, ""))
		for _, o := range all {
			if o.Name != e.Name && o.Method == e.Method && pathpattern.SameShape(o.Path, e.Path) {
				return e, picloud.ErrEndpointInvalid.Detailf("path: the endpoint %q answers %s %s already", o.Name, o.Method, o.Path)
			}
		}
		old, there := tx.catalog.endpoints().Get(pair(e.App, e.Name))
		e.ID, e.CreatedAt, e.UpdatedAt = old.ID, old.CreatedAt, old.UpdatedAt
		if there && e == old {
			return e, nil
		}
		e.UpdatedAt = fromMicros(tx.at)
		if !there {
			if len(all) >= picloud.MaxEndpoints {
				return e, picloud.ErrEndpointInvalid.Detailf("the app has %d endpoints, which is the limit; delete some first", picloud.MaxEndpoints)
			}
			e.ID, e.CreatedAt = newID(), e.UpdatedAt
		}
		tx.put(tableEndpoint, pair(e.App, e.Name), e)
		return e, nil
	})
}

// newID is a name that nothing else has.
func newID() string { return strings.ToLower(rand.Text()[:16]) }

// needScript returns a fault unless there is a script.
func (t *tx) needScript(app, name string, fault *picloud.Error) error {
	sc, err := t.script(app, name)
	if err == nil && sc.Version == 0 {
		err = noScript(name, fault)
	}
	return err
}

func noScript(name string, fault *picloud.Error) error {
	return fault.Detailf("script: there is no script %q; push it first", name)
}

// hasScript is needScript for a node that is being restored.
func (s *Store) hasScript(app, name string, fault *picloud.Error) error {
	if s.tables.get(tableScript, []byte(pair(app, name))) == nil {
		return noScript(name, fault)
	}
	return nil
}

// DeleteEndpoint removes an endpoint. Requests that it has not answered yet fail.
func (s *Store) DeleteEndpoint(ctx context.Context, app, name string) error {
	return s.untilDone(ctx, configOf(app), func(tx *tx) (bool, error) { return tx.deleteEndpoint(app, name) })
}

func (t *tx) deleteEndpoint(app, name string) (more bool, err error) {
	if _, err := t.catalog.app(app); err != nil {
		return false, err
	}
	e, ok := t.catalog.endpoints().Get(pair(app, name))
	if !ok {
		return false, picloud.ErrEndpointNotFound
	}
	keys, more := t.s.tables.keys(tableDelivery, deliveryKey(app, e.ID, nil), t.s.chunk()/4)
	for _, k := range keys {
		if t.enough() {
			more = true
			break
		}
		b := t.get(tableDelivery, []byte(k))
		if b == nil {
			continue // answered in the meantime
		}
		var what picloud.Happening
		if err := cborDecode(b, &what); err != nil {
			return false, err
		}
		t.removeDelivery(k)
		if err := t.failResult(app, what.Name); err != nil {
			return false, err
		}
	}
	if more || t.g.holdsDeliveries(app, e.ID) {
		return true, nil
	}
	t.remove(tableEndpoint, pair(app, name))
	return false, nil
}
