package store

import (
	"bytes"
	"strings"

	"github.com/picloud/picloud"
)

// Each name of a topic that has events costs memory in the index of every segment that
// has any of them. A topic need not be registered to be published to, so the names of an
// app are bounded. The journal's index knows them: a name is forgotten with the segments
// that held its events. Topics that are registered, and those of the system, are not
// refused: their number is bounded elsewhere.

// topicNames counts the names that have events. It belongs to the committer.
type topicNames struct {
	counts map[string]int64 // by app; nil: they have to be counted, which takes a look at all
}

// forgetNames says that names may have gone with segments, or are bounded otherwise now.
func (s *Store) forgetNames() {
	s.commit.names.counts = nil
	s.commit.group.names.last = s.commit.group.names.last[:0]
}

// newNames are names that a group is the first to publish to.
type newNames struct {
	keys   map[string]bool // of the journal
	counts map[string]int64
	last   []byte // the known key that was looked at last, by this group or one before
}

func (n *newNames) begin() {
	clear(n.keys)
	clear(n.counts)
}

func (n *newNames) add(app string, key []byte) {
	if n.keys == nil {
		n.keys, n.counts = map[string]bool{}, map[string]int64{}
	}
	n.keys[string(key)] = true
	n.counts[app]++
}

// takeBack forgets keys of an app that were added.
func (n *newNames) takeBack(app string, keys []string) {
	for _, k := range keys {
		delete(n.keys, k)
		n.counts[app]--
	}
}

// nameCounts counts for each app the names that have events and are bounded.
func (s *Store) nameCounts(c *catalog) map[string]int64 {
	counts := map[string]int64{}
	s.journal.EachKey(func(key string, last uint64) {
		app, topic, _ := strings.Cut(key, "\x00")
		if row, err := c.app(app); err == nil && last > row.Born && c.boundedName(key, topic) {
			counts[app]++
		}
	})
	return counts
}

// boundedName reports whether a topic counts among the names of its app.
func (c *catalog) boundedName(key, topic string) bool {
	_, registered := c.topics().Get(key)
	return !registered && !picloud.IsSystemTopic(topic)
}

// admitNames returns picloud.ErrTopicsFull when a publication would give an app more
// names of topics than it may have. Then it takes none of them.
func (s *Store) admitNames(g *group, p *picloud.Publication) error {
	n := &g.names
	var added []string
	for i := range p.Drafts {
		topic := p.Drafts[i].Topic
		var buf [picloud.MaxAppName + 2 + picloud.MaxTopicName]byte
		key := eventKey(buf[:0], p.App, topic)
		if bytes.Equal(key, n.last) || n.keys[string(key)] {
			continue
		}
		if s.journal.Has(key) {
			n.last = append(n.last[:0], key...)
			continue
		}
		if !g.catalog.boundedName(string(key), topic) {
			continue
		}
		if s.commit.names.counts == nil {
			s.commit.names.counts = s.nameCounts(g.catalog)
		}
		if have := s.commit.names.counts[p.App] + n.counts[p.App]; have >= s.cfg.TopicNames {
			n.takeBack(p.App, added)
			return picloud.ErrTopicsFull.Detailf("The app has events under %d names of topics, and %q would be one more. Nothing was stored. Put what differs into the data, register the topic, or raise quota.topic_names; a name is forgotten once retention has removed its events.",
				have-int64(len(added)), topic)
		}
		n.add(p.App, key)
		added = append(added, string(key))
	}
	return nil
}

// named counts the names that a group was the first to publish to, once it is committed.
func (s *Store) named(g *group) {
	if counts := s.commit.names.counts; counts != nil {
		for app, n := range g.names.counts {
			counts[app] += n
		}
	}
}
