package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

const tableDoc table = 23 // app, zero byte, collection name, zero byte, document id

var documentKind = rowKind{
	name: "documents", data: true,
	derive: deriveDoc, happened: documentHappened, holds: holdsData,
	copied: copies[picloud.Document]{
		as: picloud.ChangeDocument, from: decodeDocument,
		check: func(d *picloud.Document) error {
			return errors.Join(checkDocument(d), check.Version(picloud.ErrDocumentInvalid, d.Version))
		},
		to: func(_ *restorer, d picloud.Document) ([]change, error) {
			r := docRow{Body: d.Body, Version: d.Version, Created: micros(d.CreatedAt), Updated: micros(d.UpdatedAt)}
			return []change{{table: tableDoc, key: []byte(docKey(d.App, d.Collection, d.ID)), value: r.encode()}}, nil
		},
	},
}

// docRow is a document as it is kept. Times are microseconds.
type docRow struct {
	Body    []byte
	Version uint64
	Created int64
	Updated int64
}

const (
	docVersion = 1
	docHead    = 1 + 3*8
)

// encode writes: kind u8 · version u64 · created i64 · updated i64, all little
// endian · body. As with entries, bodies are read without being copied.
func (r *docRow) encode() []byte {
	b := make([]byte, 0, docHead+len(r.Body))
	b = append(b, docVersion)
	b = binary.LittleEndian.AppendUint64(b, r.Version)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Created)) // #nosec G115 -- two's complement there and back
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Updated)) // #nosec G115 -- as above
	return append(b, r.Body...)
}

// decodeDocRow reads what encode wrote. The body shares b's memory.
func decodeDocRow(b []byte) (docRow, error) {
	if len(b) < docHead || b[0] != docVersion {
		return docRow{}, fmt.Errorf("%w: document of unknown version", errRecord)
	}
	return docRow{
		Version: binary.LittleEndian.Uint64(b[1:]),
		Created: int64(binary.LittleEndian.Uint64(b[9:])),  // #nosec G115 -- as above
		Updated: int64(binary.LittleEndian.Uint64(b[17:])), // #nosec G115 -- as above
		Body:    b[docHead:],
	}, nil
}

func (r *docRow) document(app, collection, id string) picloud.Document {
	return picloud.Document{App: app, Collection: collection, ID: id, Body: r.Body, Version: r.Version, CreatedAt: fromMicros(r.Created), UpdatedAt: fromMicros(r.Updated)}
}

// docKey is the key of a document.
func docKey(app, collection, id string) string { return pair(app, collection) + "\x00" + id }

// splitDocKey returns what docKey has joined.
func splitDocKey(key string) (app, collection, id string) {
	app, rest, _ := strings.Cut(key, "\x00")
	collection, id, _ = strings.Cut(rest, "\x00")
	return app, collection, id
}

// decodeDocument turns a row into the document it holds. Its body is a copy.
func decodeDocument(key string, value []byte) (picloud.Document, error) {
	r, err := decodeDocRow(value)
	r.Body = bytes.Clone(r.Body)
	app, collection, id := splitDocKey(key)
	return r.document(app, collection, id), err
}

// Document returns a document, or picloud.ErrDocumentNotFound.
func (s *Store) Document(app, collection, id string) (picloud.Document, error) {
	if _, err := s.catalog.Load().app(app); err != nil {
		return picloud.Document{}, err
	}
	b := s.tables.get(tableDoc, []byte(docKey(app, collection, id)))
	if b == nil {
		return picloud.Document{}, picloud.ErrDocumentNotFound
	}
	r, err := decodeDocRow(b)
	return r.document(app, collection, id), err
}

// PutDocument writes a document, and returns it as it is then.
func (s *Store) PutDocument(ctx context.Context, c picloud.DocumentChange) (picloud.Document, error) {
	d := picloud.Document{Collection: c.Collection, ID: c.ID, Body: c.Body}
	fresh := c.ID == ""
	if fresh {
		d.ID = newDocID(0) // the committer knows the time
	}
	if err := checkDocument(&d); err != nil {
		return picloud.Document{}, err
	}
	c.Body = d.Body
	return ask(ctx, s, c.App, recordCost+len(c.App)+len(c.Collection)+len(d.ID)+len(c.Body), func(tx *tx) (picloud.Document, error) {
		if fresh {
			c.ID = newDocID(tx.at)
		}
		return tx.putDocument(&c)
	})
}

func (t *tx) putDocument(c *picloud.DocumentChange) (picloud.Document, error) {
	if err := t.app(c.App, c.Cause); err != nil {
		return picloud.Document{}, err
	}
	old, err := t.document(c.App, c.Collection, c.ID)
	if err == nil {
		err = c.If.Check(old.Version)
	}
	if err != nil {
		return picloud.Document{}, err
	}
	row := docRow{Body: c.Body, Created: old.Created}
	if c.Merge {
		if old.Version == 0 {
			return picloud.Document{}, picloud.ErrDocumentNotFound
		}
		if row.Body, err = merged(old.Body, c.Body); err != nil {
			return picloud.Document{}, err
		}
	}
	if old.Version == 0 {
		row.Created = t.at
	}
	row.Version, row.Updated = nextVersion(old.Version, t.at), t.at
	t.change(change{table: tableDoc, key: []byte(docKey(c.App, c.Collection, c.ID)), value: row.encode()})
	return row.document(c.App, c.Collection, c.ID), nil
}

// checkDocument checks the names and the body, and brings that into compact form.
func checkDocument(d *picloud.Document) error {
	if err := check.Handle("collection", d.Collection); err != nil {
		return err
	}
	if err := check.Key(d.ID); err != nil {
		return picloud.ErrDocumentInvalid.Detailf("its id: use 1 to %d bytes of UTF-8 without NUL", picloud.MaxKey)
	}
	var err error
	d.Body, err = check.Document(d.Body)
	return err
}

// newDocID is an id that rises with time, so that documents lie in the order in
// which they were made.
func newDocID(at int64) string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%013x%x", at, b)
}

// DeleteDocument removes a document, or returns picloud.ErrDocumentNotFound.
func (s *Store) DeleteDocument(ctx context.Context, d picloud.Deletion) error {
	return s.do(ctx, d.App, func(tx *tx) error {
		if err := tx.app(d.App, d.Cause); err != nil {
			return err
		}
		old, err := tx.document(d.App, d.Container, d.Name)
		if err != nil {
			return err
		}
		if old.Version == 0 {
			return picloud.ErrDocumentNotFound
		}
		if err := d.If.Check(old.Version); err != nil {
			return err
		}
		tx.remove(tableDoc, docKey(d.App, d.Container, d.Name))
		return nil
	})
}

// document returns the row of a document, all zero when there is none.
func (t *tx) document(app, collection, id string) (docRow, error) {
	if _, err := t.catalog.app(app); err != nil {
		return docRow{}, err
	}
	b := t.get(tableDoc, []byte(docKey(app, collection, id)))
	if b == nil {
		return docRow{}, nil
	}
	return decodeDocRow(b)
}

// merged applies a merge patch (RFC 7396).
func merged(doc, patch []byte) ([]byte, error) {
	b, err := mergePatch(doc, patch)
	if err != nil {
		return nil, fmt.Errorf("merge into the document: %w", err) // both were checked
	}
	return check.Document(b)
}

func mergePatch(target, patch []byte) ([]byte, error) {
	if patch[0] != '{' {
		return patch, nil
	}
	var changes map[string]json.RawMessage
	if err := json.Unmarshal(patch, &changes); err != nil {
		return nil, err //nolint:wrapcheck // wrapped above
	}
	fields := map[string]json.RawMessage{}
	if len(target) > 0 && target[0] == '{' {
		if err := json.Unmarshal(target, &fields); err != nil {
			return nil, err //nolint:wrapcheck // as above
		}
	}
	for name, v := range changes {
		if string(v) == "null" {
			delete(fields, name)
			continue
		}
		merged, err := mergePatch(fields[name], v)
		if err != nil {
			return nil, err
		}
		fields[name] = merged
	}
	return picloud.EncodeJSON(fields) //nolint:wrapcheck // as above
}

// documentHappened tells of a document that was put or removed.
func documentHappened(ch change, by cause) (matched, bool, error) {
	app, collection, id := splitDocKey(string(ch.key))
	what := picloud.Happening{Kind: picloud.TriggerDocs, At: fromMicros(by.at), Hops: by.hops, Container: collection, Name: id, Deleted: ch.value == nil}
	if ch.value != nil {
		r, err := decodeDocRow(ch.value)
		if err != nil {
			return matched{}, false, err
		}
		what.Data, what.Version = r.Body, r.Version
	}
	return matched{app: app, by: collection, lsn: by.lsn, what: what}, true, nil
}
