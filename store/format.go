package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/picloud/picloud/journal"
)

// formatVersion is the version of everything the store keeps in a data directory, and
// of backups. Raise it when a version before must not touch what this one writes: a
// table, a record, a row whose bytes mean something else. node.json, state.db, cache.db
// and the manifest of a backup carry it. In a directory of an older format node.json
// takes it on before the first record is written. Each number has a fixture in
// testdata/formats. The files of the journal have versions of their own.
const formatVersion = 3

// NewerError says that a newer picloud wrote a file, so that this one must not touch
// the directory. Nothing was changed.
type NewerError struct {
	File string // relative to the data directory
	What string // what this version does not know
}

// Error says what to do.
func (e *NewerError) Error() string {
	return fmt.Sprintf("%s was written by a newer picloud (%s is not known to this one): install that version, or restore a backup made by this one into another directory; nothing was changed", e.File, e.What)
}

// newer returns a *NewerError when a file says that it has a format above this one's.
func newer(file string, format uint64) error {
	if format <= formatVersion {
		return nil
	}
	return &NewerError{File: file, What: fmt.Sprintf("format %d", format)}
}

// checkFormats returns a *NewerError when a newer picloud wrote something in the data
// directory that this one does not know. It changes nothing. Files that are missing or
// damaged are left to those who open them.
func checkFormats(cfg *Config) error {
	id, err := checkIdentity(cfg.Dir)
	if err != nil {
		return err
	}
	meta, err := peekState(filepath.Join(cfg.Dir, stateFile))
	if err != nil {
		return err
	}
	if err := peekCache(filepath.Join(cfg.Dir, cacheFile)); err != nil {
		return err
	}
	if meta.Node != "" && id != "" && meta.Node != id {
		meta = checkpointMeta{} // another node's checkpoint: all of the journal will be replayed
	}
	return checkJournal(cfg, meta)
}

// checkIdentity returns the id that node.json names, or its copy, if it can be read.
func checkIdentity(dir string) (id string, err error) {
	ident, _, err := readIdentities(dir)
	return ident.ID, onlyNewer(err)
}

// checkJournal looks at the files of the journal, and at what records it has beyond a
// checkpoint.
func checkJournal(cfg *Config, meta checkpointMeta) error {
	jc := cfg.journal(meta.LSN + 1)
	jc.Peeked = false
	err := journal.Peek(jc, meta.Journal, func(file string, r *journal.Record) error {
		if what := unknown(r); what != "" {
			return &NewerError{File: "journal/" + file, What: what}
		}
		return nil
	})
	if v, ok := errors.AsType[*journal.VersionError](err); ok {
		return &NewerError{File: "journal/" + v.File, What: fmt.Sprintf("format %d", v.Version)}
	}
	return err
}

// journalDir is the directory of the journal in the data directory.
const journalDir = "journal"

// journal is the configuration of the journal, of which records from one on are of
// interest. Its files have been peeked at.
func (c *Config) journal(from journal.LSN) journal.Config {
	return journal.Config{
		Dir: filepath.Join(c.Dir, journalDir), FS: c.JournalFS, SegmentSize: c.SegmentSize, ScanFrom: from, Peeked: true, Now: c.Now, Logger: c.Logger,
	}
}

// unknown says what this version does not know of a record; empty: nothing.
func unknown(r *journal.Record) string {
	switch r.Kind {
	case kindEvent:
		if len(r.Body) > 0 && !knownEvent(r.Body[0]) {
			return fmt.Sprintf("version %d of events", r.Body[0])
		}
	case kindChange:
		if len(r.Body) > 0 && !table(r.Body[0]).known() {
			return fmt.Sprintf("table %d", r.Body[0])
		}
	case kindStop, journal.KindThinned, journal.KindLost, journal.KindSkipped:
	default:
		return fmt.Sprintf("kind %d of records", r.Kind)
	}
	return ""
}

func isNewer(err error) bool {
	_, ok := errors.AsType[*NewerError](err)
	return ok
}

// onlyNewer keeps a *NewerError: everything else, opening the file meets again.
func onlyNewer(err error) error {
	if isNewer(err) {
		return err
	}
	return nil
}

// parseFormat reads the format of a JSON file of any version: the member format of the
// object that it begins with. 0: it says none.
func parseFormat(r io.Reader) uint64 {
	var head struct {
		Format uint64 `json:"format"`
	}
	_ = json.NewDecoder(r).Decode(&head) // damage, which reading the rest finds
	return head.Format
}
