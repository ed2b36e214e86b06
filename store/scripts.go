package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

const (
	tableScript        table = 14 // app, zero byte, script name
	tableScriptVersion table = 15 // app, zero byte, script name, zero byte, version: an earlier version, or the newest
)

var scriptKind = rowKind{
	name: "scripts", data: true, holds: holdsScript,
	copied: copies[picloud.Script]{
		as: picloud.ChangeScript, limit: picloud.MaxScripts,
		check: func(sc *picloud.Script) error {
			return errors.Join(check.Script(sc.Name, sc.Source), check.Version(picloud.ErrScriptInvalid, sc.Version))
		},
		to: func(_ *restorer, sc picloud.Script) ([]change, error) {
			version := putOf(tableScriptVersion, versionKey(sc.App, sc.Name, sc.Version), sc)
			return append(version, putOf(tableScript, pair(sc.App, sc.Name), sc)...), nil
		},
	},
}

var scriptVersionKind = rowKind{name: "versions of scripts", data: true, holds: holdsScript}

// maxScriptBytes bounds the scripts of an app with their versions. Old versions of the
// script that is saved make room.
const maxScriptBytes = 64 << 20

func holdsScript(u *usage, key, row []byte, sign int64) { u.scripts.add(amountOf(key, row, 0), sign) }

// Script returns the newest version of a script, or picloud.ErrScriptNotFound.
func (s *Store) Script(app, name string) (picloud.Script, error) {
	if _, err := s.catalog.Load().app(app); err != nil {
		return picloud.Script{}, err
	}
	return s.scripts.decode(pair(app, name), s.tables.get(tableScript, []byte(pair(app, name))))
}

// scripts are those that were asked for last, decoded: they run often.
type scripts struct {
	mu   sync.Mutex
	last map[string]decodedScript // by app, zero byte, name
}

type decodedScript struct {
	row    []byte
	script picloud.Script
}

// maxDecoded bounds them.
const maxDecoded = 64

func (c *scripts) decode(key string, row []byte) (picloud.Script, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok := c.last[key]; ok && bytes.Equal(d.row, row) {
		return d.script, nil
	}
	sc, err := decodeScript(row)
	if err != nil {
		delete(c.last, key)
		return sc, err
	}
	if c.last == nil || len(c.last) >= maxDecoded {
		c.last = map[string]decodedScript{}
	}
	c.last[key] = decodedScript{row: row, script: sc}
	return sc, nil
}

// ScriptVersion returns one of the versions of a script that are kept, or
// picloud.ErrScriptNotFound.
func (s *Store) ScriptVersion(app, name string, version uint64) (picloud.Script, error) {
	if _, err := s.catalog.Load().app(app); err != nil {
		return picloud.Script{}, err
	}
	return decodeScript(s.tables.get(tableScriptVersion, []byte(versionKey(app, name, version))))
}

// Scripts returns the scripts of an app, sorted by name, with their sources.
func (s *Store) Scripts(app string) ([]picloud.Script, error) {
	return s.scanScripts(app, tableScript, pair(app, ""))
}

// ScriptVersions returns the versions of a script that are kept, oldest first.
func (s *Store) ScriptVersions(app, name string) ([]picloud.Script, error) {
	list, err := s.scanScripts(app, tableScriptVersion, pair(app, name)+"\x00")
	if err == nil && len(list) == 0 {
		err = picloud.ErrScriptNotFound
	}
	return list, err
}

func (s *Store) scanScripts(app string, tb table, prefix string) ([]picloud.Script, error) {
	if _, err := s.catalog.Load().app(app); err != nil {
		return nil, err
	}
	var list []picloud.Script
	var fault error
	s.tables.scan(tb, prefix, "", func(_ string, v []byte) bool {
		var one picloud.Script
		one, fault = decodeScript(v)
		list = append(list, one)
		return fault == nil
	})
	return list, fault
}

// SaveScript makes a new version of a script, unless its source is what it was.
func (s *Store) SaveScript(ctx context.Context, sc picloud.Script, cond picloud.Precondition) (picloud.Script, error) {
	if err := check.Script(sc.Name, sc.Source); err != nil {
		return picloud.Script{}, err
	}
	return ask(ctx, s, configOf(sc.App), 2*(recordCost+len(sc.App)+len(sc.Name)+len(sc.Source)), func(tx *tx) (picloud.Script, error) {
		old, err := tx.script(sc.App, sc.Name)
		if err == nil {
			err = cond.Check(old.Version)
		}
		if err != nil || (old.Version != 0 && old.Source == sc.Source) {
			return old, err
		}
		if old.Version == 0 && tx.s.tables.count(tableScript, pair(sc.App, ""), picloud.MaxScripts) >= picloud.MaxScripts {
			return old, picloud.ErrScriptInvalid.Detailf("the app has %d scripts, which is the limit; delete some first", picloud.MaxScripts)
		}
		sc.Version, sc.UpdatedAt = old.Version+1, fromMicros(tx.at)
		tx.put(tableScript, pair(sc.App, sc.Name), sc)
		tx.put(tableScriptVersion, versionKey(sc.App, sc.Name, sc.Version), sc)
		if sc.Version > picloud.MaxScriptVersions {
			tx.remove(tableScriptVersion, versionKey(sc.App, sc.Name, sc.Version-picloud.MaxScriptVersions))
		}
		return sc, tx.dropVersions(&sc)
	})
}

// dropVersions removes the oldest versions of a script that was saved until the scripts
// of its app take no more than they may.
func (t *tx) dropVersions(sc *picloud.Script) error {
	for v := sc.Version - min(sc.Version, picloud.MaxScriptVersions) + 1; t.usage(sc.App).scripts.bytes > maxScriptBytes; v++ {
		if v == sc.Version {
			return picloud.ErrScriptInvalid.Detailf("the scripts of the app, with their versions, take more than %d bytes; delete some first", maxScriptBytes)
		}
		t.remove(tableScriptVersion, versionKey(sc.App, sc.Name, v))
	}
	return nil
}

// DeleteScript removes a script with all its versions.
func (s *Store) DeleteScript(ctx context.Context, app, name string, cond picloud.Precondition) error {
	return s.do(ctx, configOf(app), func(tx *tx) error {
		old, err := tx.script(app, name)
		if err != nil {
			return err
		}
		if old.Version == 0 {
			return picloud.ErrScriptNotFound
		}
		if err := cond.Check(old.Version); err != nil {
			return err
		}
		if user := tx.catalog.usesScript(app, name); user != "" {
			return picloud.ErrScriptInUse.Detailf("the %s runs it; delete that first", user)
		}
		for v := old.Version; v > 0 && v+picloud.MaxScriptVersions > old.Version; v-- {
			tx.remove(tableScriptVersion, versionKey(app, name, v))
		}
		tx.remove(tableScript, pair(app, name))
		tx.forgetRuns(app, name)
		return nil
	})
}

// script returns a script, all zero when there is none.
func (t *tx) script(app, name string) (picloud.Script, error) {
	if _, err := t.catalog.app(app); err != nil {
		return picloud.Script{}, err
	}
	b := t.get(tableScript, []byte(pair(app, name)))
	if b == nil {
		return picloud.Script{}, nil
	}
	return decodeScript(b)
}

func decodeScript(b []byte) (sc picloud.Script, err error) {
	if b == nil {
		return sc, picloud.ErrScriptNotFound
	}
	return sc, cborDecode(b, &sc)
}

// versionKey orders the versions of a thing by their number.
func versionKey(app, name string, version uint64) string {
	return pair(app, name) + "\x00" + string(binary.BigEndian.AppendUint64(nil, version))
}
