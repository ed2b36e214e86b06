package store

import (
	"context"

	"github.com/tidwall/btree"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

const tableTopic table = 2 // app, zero byte, topic name

var topicKind = rowKind{
	name: "topics", catalog: inMemory[picloud.Topic],
	committed: func(s *Store, _ change) { s.forgetNames() },
	copied: copies[picloud.Topic]{
		as: picloud.ChangeTopic, limit: MaxTopics,
		former: func(t *picloud.Topic) { t.Description = withoutNUL(t.Description) },
		check:  checkedBy(check.Topic),
		to: func(_ *restorer, t picloud.Topic) ([]change, error) {
			return putOf(tableTopic, pair(t.App, t.Name), t), nil
		},
	},
}

func (c *catalog) topics() *btree.Map[string, picloud.Topic] {
	return rowsOf[picloud.Topic](c, tableTopic)
}

// MaxTopics bounds the registered topics of one app.
const MaxTopics = 20_000

// Topics returns the registered topics of an app, sorted by name.
func (s *Store) Topics(app string) ([]picloud.Topic, error) {
	c := s.catalog.Load()
	if _, err := c.app(app); err != nil {
		return nil, err
	}
	return under(c.topics(), pair(app, "")), nil
}

// Topic returns a registered topic, or picloud.ErrTopicNotFound.
func (s *Store) Topic(app, name string) (picloud.Topic, error) {
	c := s.catalog.Load()
	if _, err := c.app(app); err != nil {
		return picloud.Topic{}, err
	}
	return c.topic(app, name)
}

func (c *catalog) topic(app, name string) (picloud.Topic, error) {
	t, ok := c.topics().Get(pair(app, name))
	if !ok {
		return picloud.Topic{}, picloud.ErrTopicNotFound
	}
	return t, nil
}

// CreateTopic registers a topic. Events published to its name before are its
// history.
func (s *Store) CreateTopic(ctx context.Context, t picloud.Topic) (picloud.Topic, error) {
	t = t.WithDefaults()
	if err := check.Topic(t); err != nil {
		return picloud.Topic{}, err
	}
	return ask(ctx, s, configOf(t.App), 0, func(tx *tx) (picloud.Topic, error) {
		row, err := tx.catalog.app(t.App)
		if err != nil {
			return t, err
		}
		if _, err := tx.catalog.topic(t.App, t.Name); err == nil {
			return t, picloud.ErrTopicExists.Detailf("%q is registered; change it with PATCH", t.Name)
		}
		if n := tx.topicCount(t.App); n >= MaxTopics {
			return t, picloud.ErrTopicInvalid.Detailf("the app has %d registered topics, which is the limit; delete some first", n)
		}
		t.CreatedAt = fromMicros(tx.at)
		t.UpdatedAt = t.CreatedAt
		tx.put(tableTopic, pair(t.App, t.Name), t)
		if gone := s.mayBeGone(t.App, eventKey(nil, t.App, t.Name)); gone > 0 {
			floor, _ := tx.catalog.floors().Get(pair(t.App, t.Name))
			tx.put(tableFloor, pair(t.App, t.Name), max(floor, min(gone, row.sequence.last)))
		}
		return t, nil
	})
}

// topicCount counts up to the limit.
func (t *tx) topicCount(app string) int {
	prefix, n := pair(app, ""), 0
	if t.catalog.topics().Len() < MaxTopics {
		return 0 // all apps together have fewer
	}
	t.catalog.topics().Ascend(prefix, func(k string, _ picloud.Topic) bool {
		if len(k) < len(prefix) || k[:len(prefix)] != prefix {
			return false
		}
		n++
		return true
	})
	return n
}

// UpdateTopic changes a topic. When outsiders now need a token, the live
// streams of those who came without end.
func (s *Store) UpdateTopic(ctx context.Context, app, name string, p picloud.TopicPatch) (picloud.Topic, error) {
	return s.changeTopic(ctx, app, name, p.Apply)
}

// SetExternal makes a topic reachable from outside, or not: then the live
// streams of outsiders end.
func (s *Store) SetExternal(ctx context.Context, app, name string, external bool) (picloud.Topic, error) {
	return s.changeTopic(ctx, app, name, func(t picloud.Topic) picloud.Topic {
		t.External = external
		return t
	})
}

func (s *Store) changeTopic(ctx context.Context, app, name string, apply func(picloud.Topic) picloud.Topic) (picloud.Topic, error) {
	return ask(ctx, s, configOf(app), 0, func(tx *tx) (picloud.Topic, error) {
		if _, err := tx.catalog.app(app); err != nil {
			return picloud.Topic{}, err
		}
		old, err := tx.catalog.topic(app, name)
		if err != nil {
			return old, err
		}
		t := apply(old)
		if err := check.Topic(t); err != nil {
			return t, err
		}
		t.UpdatedAt = fromMicros(tx.at)
		tx.put(tableTopic, pair(app, name), t)
		narrower := old.AuthMode == picloud.AuthPublic && t.AuthMode != picloud.AuthPublic
		if old.External && (!t.External || narrower) {
			tx.revoke(picloud.Revocation{App: app, Topic: name, OutsideOnly: true})
		}
		return t, nil
	})
}

// DeleteTopic deletes a topic and hides its history for good. Live streams that
// hold it end. Publishing to its name stays possible, as to any name.
func (s *Store) DeleteTopic(ctx context.Context, app, name string) error {
	return s.do(ctx, configOf(app), func(tx *tx) error {
		row, err := tx.catalog.app(app)
		if err != nil {
			return err
		}
		if _, err := tx.catalog.topic(app, name); err != nil {
			return err
		}
		tx.remove(tableTopic, pair(app, name))
		tx.put(tableFloor, pair(app, name), row.sequence.last)
		tx.revoke(picloud.Revocation{App: app, Topic: name})
		return nil
	})
}
