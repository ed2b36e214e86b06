package store

import (
	"bytes"
	"context"
	"errors"

	"github.com/tidwall/btree"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

const tableTrigger table = 17 // app, zero byte, trigger name

var triggerKind = rowKind{
	name: "triggers", catalog: inMemory[picloud.Trigger],
	committed: func(s *Store, _ change) { s.commit.triggersChanged = true },
	refers: func(s *Store, ch change, _ int64) error {
		t, err := decodeAs[picloud.Trigger](ch.value)
		if err == nil {
			err = s.hasScript(t.App, t.Script, picloud.ErrTriggerInvalid)
		}
		if err == nil && s.cfg.CheckSchedule != nil {
			err = s.cfg.CheckSchedule(t)
		}
		return err
	},
	copied: copies[picloud.Trigger]{
		as: picloud.ChangeTrigger, limit: picloud.MaxTriggers,
		check: checkedBy(func(t picloud.Trigger) error {
			return errors.Join(check.Handle("trigger's id", t.ID), check.Trigger(t))
		}),
		to: func(_ *restorer, t picloud.Trigger) ([]change, error) {
			return putOf(tableTrigger, pair(t.App, t.Name), t), nil
		},
	},
}

func (c *catalog) triggers() *btree.Map[string, picloud.Trigger] {
	return rowsOf[picloud.Trigger](c, tableTrigger)
}

// Triggers returns the triggers of an app, sorted by name.
func (s *Store) Triggers(app string) ([]picloud.Trigger, error) {
	c := s.catalog.Load()
	if _, err := c.app(app); err != nil {
		return nil, err
	}
	return under(c.triggers(), pair(app, "")), nil
}

// AllTriggers returns the triggers of all apps, and their endpoints as such.
func (s *Store) AllTriggers() []picloud.Trigger {
	c := s.catalog.Load()
	list := under(c.triggers(), "")
	for e := range each(c.endpoints(), "") {
		list = append(list, asTrigger(e))
	}
	return list
}

// Trigger returns a trigger, or picloud.ErrTriggerNotFound.
func (s *Store) Trigger(app, name string) (picloud.Trigger, error) {
	c := s.catalog.Load()
	if _, err := c.app(app); err != nil {
		return picloud.Trigger{}, err
	}
	return c.trigger(app, name)
}

func (c *catalog) trigger(app, name string) (picloud.Trigger, error) {
	t, ok := c.triggers().Get(pair(app, name))
	if !ok {
		return picloud.Trigger{}, picloud.ErrTriggerNotFound
	}
	return t, nil
}

// triggerByID finds the trigger of an app that has an id.
func (c *catalog) triggerByID(app, id string) (picloud.Trigger, bool) {
	for t := range each(c.triggers(), pair(app, "")) {
		if t.ID == id {
			return t, true
		}
	}
	return picloud.Trigger{}, false
}

// SaveTrigger makes a trigger, or changes the one of that name; its kind stays
// what it was. It concerns what is committed from then on.
func (s *Store) SaveTrigger(ctx context.Context, t picloud.Trigger) (picloud.Trigger, error) {
	t = t.WithDefaults()
	if err := check.Trigger(t); err != nil {
		return picloud.Trigger{}, err
	}
	return ask(ctx, s, configOf(t.App), 0, func(tx *tx) (picloud.Trigger, error) {
		if err := tx.needScript(t.App, t.Script, picloud.ErrTriggerInvalid); err != nil {
			return t, err
		}
		old, err := tx.catalog.trigger(t.App, t.Name)
		t.ID, t.CreatedAt, t.UpdatedAt = old.ID, old.CreatedAt, fromMicros(tx.at)
		switch {
		case err != nil:
			if len(under(tx.catalog.triggers(), pair(t.App, ""))) >= picloud.MaxTriggers {
				return t, picloud.ErrTriggerInvalid.Detailf("the app has %d triggers, which is the limit; delete some first", picloud.MaxTriggers)
			}
			t.ID, t.CreatedAt = newID(), t.UpdatedAt
		case old.Kind != t.Kind:
			return t, picloud.ErrTriggerInvalid.Detailf("kind: the trigger is of kind %s; delete it first, with its pending deliveries", old.Kind)
		case sameTrigger(old, t):
			return old, nil
		}
		return t, tx.putTrigger(old, t)
	})
}

// sameTrigger reports whether two say the same, whenever that was.
func sameTrigger(a, b picloud.Trigger) bool {
	b.UpdatedAt = a.UpdatedAt
	return a == b
}

// DeleteTrigger removes a trigger and its pending deliveries. Its dead letters stay.
func (s *Store) DeleteTrigger(ctx context.Context, app, name string) error {
	return s.untilDone(ctx, configOf(app), func(tx *tx) (bool, error) { return tx.deleteTrigger(app, name) })
}

// deleteTrigger removes the rows of a trigger, its own last; while that is there
// it is disabled.
func (t *tx) deleteTrigger(app, name string) (more bool, err error) {
	if _, err := t.catalog.app(app); err != nil {
		return false, err
	}
	tr, err := t.catalog.trigger(app, name)
	if err != nil {
		return false, err
	}
	if key := pair(app, tr.ID); t.catalog.hasBehind(key) {
		t.remove(tableBehind, key)
	}
	for _, tb := range []table{tableWaiting, tableDelivery, tableAttempt, tableTick, tableStep, tableGivenUp} {
		var keys []string
		keys, more = t.s.tables.keys(tb, deliveryKey(app, tr.ID, nil), t.s.chunk()/3)
		if more = !t.removeSome(tb, keys) || more; more {
			break
		}
	}
	if more || t.g.holdsDeliveries(app, tr.ID) {
		tr.Enabled = false
		t.put(tableTrigger, pair(app, name), tr)
		return true, nil
	}
	t.remove(tableTrigger, pair(app, name))
	return false, nil
}

// holdsDeliveries reports whether the group makes deliveries of a trigger, which no
// scan finds before it is committed.
func (g *group) holdsDeliveries(app, id string) bool {
	prefix := []byte(deliveryKey(app, id, nil))
	for _, c := range g.changes {
		if (c.table == tableWaiting || c.table == tableDelivery) && c.value != nil && bytes.HasPrefix(c.key, prefix) {
			return true
		}
	}
	return false
}

// usesScript returns what runs a script; empty: nothing does.
func (c *catalog) usesScript(app, script string) string {
	for t := range each(c.triggers(), pair(app, "")) {
		if t.Script == script {
			return "trigger " + t.Name
		}
	}
	for e := range each(c.endpoints(), pair(app, "")) {
		if e.Script == script {
			return "endpoint " + e.Name
		}
	}
	return ""
}
