package store

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/journal"
)

// What a copy holds was written by this node once, and perhaps by others since: it is
// believed no more than what a client sends.

// maxSeq bounds the sequence of a restored event: those that follow have room, and are
// exact in every language.
const maxSeq = 1 << 53

// maxSource bounds the source of an event in bytes.
const maxSource = 256

// thingCount counts what is restored, by kind and app.
type thingCount map[picloud.ChangeKind]map[string]int

// restoreChange stages what a change says. It asks nothing of triggers: they have
// done their part.
func (s *Store) restoreChange(g *group, c *picloud.Change, count thingCount) error {
	fault := func(err error) error {
		return fmt.Errorf("restore %s %q of app %q: %w; correct it in the copy, or delete it there", c.Kind, c.Name, c.App, err)
	}
	k := kindCopiedAs(c.Kind)
	if k == nil {
		return fmt.Errorf("restore %s %q of app %q: this version does not know that kind; install a newer one", c.Kind, c.Name, c.App)
	}
	changes, err := k.copied.restore(&restorer{lsn: s.nextLSN(g)}, c.Value)
	if err != nil {
		return fault(err)
	}
	if err := mayRestore(g.catalog, k, c, changes); err != nil {
		return fault(err)
	}
	if err := count.add(k, c); err != nil {
		return fault(err)
	}
	return s.stageRestored(g, changes)
}

// stageRestored stages rows of a restored node with what follows from them.
func (s *Store) stageRestored(g *group, changes []change) error {
	for _, ch := range changes {
		s.stageCount(g, ch)
		s.record(g, []change{ch}, 0)
		derived, err := g.catalog.apply(ch, stateBefore{catalog: g.catalog, get: s.tables.get, tables: s.tables}, nil)
		if err != nil {
			return err
		}
		g.changes = append(g.changes, derived...)
	}
	return nil
}

// checkAllReferences returns an error that names the first row of a rebuilt node that
// refers to something that is not there.
func (s *Store) checkAllReferences() (fault error) {
	for _, tb := range tablesWhere(func(k *rowKind) bool { return k.refers != nil }) {
		s.tables.scan(tb, "", "", func(key string, row []byte) bool {
			fault = s.checkReferences(change{table: tb, key: []byte(key), value: row}, micros(s.cfg.Now()))
			return fault == nil
		})
		if fault != nil {
			return fmt.Errorf("%w; correct it in the copy, or delete it there", fault)
		}
	}
	return nil
}

// kindCopiedAs returns the kind of rows that are copied under a name; nil: this version
// knows none.
func kindCopiedAs(as picloud.ChangeKind) *rowKind {
	for _, k := range kinds {
		if k != nil && k.copied != nil && k.copied.kind() == as {
			return k
		}
	}
	return nil
}

// mayRestore returns an error unless rows are those of the thing that a change names,
// and its app is there.
func mayRestore(cat *catalog, k *rowKind, c *picloud.Change, changes []change) error {
	if !k.node && c.Kind != picloud.ChangeApp {
		if _, err := cat.app(c.App); err != nil {
			return err
		}
	}
	for _, ch := range changes {
		is, err := changeOf(ch)
		if err != nil {
			return err
		}
		if is != nil && (is.Kind != c.Kind || is.App != c.App || is.Name != c.Name) {
			return fmt.Errorf("it says of itself that it is %s %q of app %q", is.Kind, is.Name, is.App)
		}
	}
	return nil
}

// add counts a thing, and returns an error when its app has too many of them.
func (n thingCount) add(k *rowKind, c *picloud.Change) error {
	most := k.copied.most()
	if most == 0 {
		return nil
	}
	if n[c.Kind] == nil {
		n[c.Kind] = map[string]int{}
	}
	if n[c.Kind][c.App]++; n[c.Kind][c.App] > most {
		return fmt.Errorf("the app has more than %d of them, which is the limit", most)
	}
	return nil
}

// restoreEvent stages an event, with the sequence it had where that is possible.
func (s *Store) restoreEvent(g *group, e *picloud.Event) error {
	data, err := checkEvent(g.catalog, e)
	if err != nil {
		return fmt.Errorf("restore event %d of topic %q of app %q: %w; correct it in the copy, or delete it there", e.Seq, e.Topic, e.App, err)
	}
	q := s.sequenceOf(e.App)
	q.last = max(q.last+1, e.Seq)
	body := eventBody{source: e.Source, data: data}
	g.records = append(g.records, journal.Record{
		Kind: kindEvent, Seq: q.last, At: micros(e.PublishedAt),
		Key: g.hold(func(b []byte) []byte { return eventKey(b, e.App, e.Topic) }), Body: g.hold(body.append),
	})
	g.touch(q)
	return nil
}

// checkEvent returns the data of an event in the form that is kept, or the first fault
// of the event.
func checkEvent(c *catalog, e *picloud.Event) ([]byte, error) {
	if _, err := c.app(e.App); err != nil {
		return nil, err
	}
	if err := check.AnyTopicName(e.Topic); err != nil {
		return nil, err
	}
	var data bytes.Buffer
	if err := check.CompactJSON(&data, e.Data); err != nil {
		return nil, err
	}
	switch {
	case picloud.IsStateTopic(e.Topic):
		return nil, picloud.ErrTopicReserved
	case data.Len() > picloud.LimitMaxData:
		return nil, picloud.ErrDataTooLarge
	case e.Seq == 0 || e.Seq > maxSeq:
		return nil, fmt.Errorf("its sequence is not one of 1 to %d", uint64(maxSeq))
	case len(e.Source) > maxSource || !utf8.ValidString(e.Source) || bytes.ContainsFunc([]byte(e.Source), unicode.IsControl):
		return nil, fmt.Errorf("its source is not a text of at most %d bytes without control characters", maxSource)
	case !sane(e.PublishedAt):
		return nil, fmt.Errorf("it is of the year %d", e.PublishedAt.Year())
	}
	return data.Bytes(), nil
}

// sane reports whether a time has a year that texts can hold.
func sane(t time.Time) bool { return t.Year() >= 1 && t.Year() <= 9999 }

// withoutNUL returns a text for people as it may be: earlier versions took NUL.
func withoutNUL(text string) string { return strings.ReplaceAll(text, "\x00", "") }

// withoutControls returns a text of one line as it may be: earlier versions took control
// characters.
func withoutControls(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return -1
		}
		return c
	}, text)
}
