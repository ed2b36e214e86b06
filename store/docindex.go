package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"strings"
)

const tableDocIndex table = 24 // see below

var docIndexKind = rowKind{name: "indexes of documents"}

// Index rows follow from documents and from what a collection says about its
// indexes. The key of one is that of the collection, the id of the index, the value
// of the field in a form whose bytes sort as values do, and the id of the document.

// Kinds of values, in the order in which they sort.
const (
	kindMissing = 1 + iota
	kindNull
	kindFalse
	kindTrue
	kindNumber
	kindText
	kindOther // arrays and objects, which are all alike
)

// maxIndexed is how many bytes of a text count for its order.
const maxIndexed = 256

// scalar is the value of a field.
type scalar struct {
	kind   byte
	number float64
	text   string
}

// scalarOf reads a JSON value; nil: there is none.
func scalarOf(raw []byte) scalar {
	if len(raw) == 0 {
		return scalar{kind: kindMissing}
	}
	switch raw[0] {
	case 'n':
		return scalar{kind: kindNull}
	case 'f':
		return scalar{kind: kindFalse}
	case 't':
		return scalar{kind: kindTrue}
	case '[', '{':
		return scalar{kind: kindOther}
	case '"':
		s := scalar{kind: kindText}
		_ = json.Unmarshal(raw, &s.text) // was checked when it was kept
		return s
	}
	s := scalar{kind: kindNumber}
	_ = json.Unmarshal(raw, &s.number) // as above; one that is too large is 0
	return s
}

// scalarFrom is scalarOf for a value that was decoded.
func scalarFrom(v any) scalar {
	switch v := v.(type) {
	case nil:
		return scalar{kind: kindNull}
	case bool:
		if v {
			return scalar{kind: kindTrue}
		}
		return scalar{kind: kindFalse}
	case float64:
		return scalar{kind: kindNumber, number: v}
	case string:
		return scalar{kind: kindText, text: v}
	}
	return scalar{kind: kindOther}
}

// key returns the bytes by which the value sorts. No key is the beginning of
// another.
func (s scalar) key() []byte {
	switch s.kind {
	case kindNumber:
		bits := math.Float64bits(s.number + 0) // -0 becomes 0
		if bits>>63 == 1 {
			bits = ^bits
		} else {
			bits |= 1 << 63
		}
		return binary.BigEndian.AppendUint64([]byte{kindNumber}, bits)
	case kindText:
		return append(textKey(s.text), 0, 1)
	}
	return []byte{s.kind}
}

// textKey is the beginning of the keys of all texts that begin so.
func textKey(text string) []byte {
	text = text[:min(len(text), maxIndexed)]
	return append([]byte{kindText}, strings.ReplaceAll(text, "\x00", "\x00\xff")...)
}

// cutKey splits a key of a value from what follows it.
func cutKey(b string) (key, rest string, ok bool) {
	if b == "" {
		return "", "", false
	}
	switch b[0] {
	case kindNumber:
		if len(b) < 9 {
			return "", "", false
		}
		return b[:9], b[9:], true
	case kindText:
		i := strings.Index(b, "\x00\x01")
		if i < 0 {
			return "", "", false
		}
		return b[:i+2], b[i+2:], true
	}
	return b[:1], b[1:], true
}

// indexPrefix begins the keys of all rows of an index.
func indexPrefix(collection string, index uint64) string {
	return collection + "\x00" + string(binary.BigEndian.AppendUint64(nil, index))
}

// field returns the value at a path in compact JSON; nil: there is none.
func field(doc []byte, path string) []byte {
	for path != "" {
		var name string
		name, path, _ = strings.Cut(path, ".")
		if doc = member(doc, name); doc == nil {
			return nil
		}
	}
	return doc
}

// member returns the value of a name in an object of compact JSON; nil: there is
// none. Of several the last one counts.
func member(doc []byte, name string) (found []byte) {
	if len(doc) < 2 || doc[0] != '{' {
		return nil
	}
	for i := 1; i < len(doc) && doc[i] == '"'; {
		end := i + skipValue(doc[i:])
		key := doc[i:end]
		i = end + 1 // the colon
		end = i + skipValue(doc[i:])
		if isName(key, name) {
			found = doc[i:end]
		}
		i = end + 1 // the comma
	}
	return found
}

// isName reports whether a JSON string says name.
func isName(quoted []byte, name string) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1:len(quoted)-1]) == name
	}
	var s string
	return json.Unmarshal(quoted, &s) == nil && s == name
}

// skipValue returns how long the value is with which b begins, of compact JSON.
func skipValue(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
			if depth < 0 {
				return i
			}
		case ',', ':':
			if depth == 0 {
				return i
			}
		}
	}
	return len(b)
}

// deriveDoc returns the index rows that come and go with a document.
func deriveDoc(c change, e stateBefore) ([]change, error) {
	app, name, id := splitDocKey(string(c.key))
	r := e.catalog.collection(app, name)
	if len(r.Indexes) == 0 {
		return nil, nil
	}
	old := e.get(tableDoc, c.key)
	var out []change
	for i := range r.Indexes {
		ix := &r.Indexes[i]
		if !ix.covers(id) {
			continue
		}
		was, is, err := indexKeys(pair(app, name), ix, id, old, c.value)
		if err != nil {
			return nil, err
		}
		if was == is {
			continue
		}
		if was != "" {
			out = append(out, change{table: tableDocIndex, key: []byte(was)})
		}
		if is != "" {
			out = append(out, change{table: tableDocIndex, key: []byte(is), value: []byte{1}})
		}
	}
	return out, nil
}

// indexKeys returns the keys of the rows of an index for two states of a document;
// empty: it is not there.
func indexKeys(collection string, ix *indexRow, id string, states ...[]byte) (a, b string, err error) {
	keys := make([]string, 2)
	for i, state := range states {
		if state == nil {
			continue
		}
		r, err := decodeDocRow(state)
		if err != nil {
			return "", "", err
		}
		keys[i] = indexPrefix(collection, ix.ID) + string(scalarOf(field(r.Body, ix.Field)).key()) + id
	}
	return keys[0], keys[1], nil
}

// deriveIndexes returns the index rows that come with a part of an index being
// built, or go with one being taken down: what the row of the collection says is
// held against what it said before.
func deriveIndexes(c change, e stateBefore) ([]change, error) {
	if c.value == nil {
		return nil, nil
	}
	key := string(c.key)
	app, name, _ := strings.Cut(key, "\x00")
	var now collectionRow
	if err := cborDecode(c.value, &now); err != nil {
		return nil, err
	}
	var out []change
	for _, old := range e.catalog.collection(app, name).Indexes {
		if old.Dropping {
			e.tables.scan(tableDocIndex, indexPrefix(key, old.ID), "", func(k string, _ []byte) bool {
				out = append(out, change{table: tableDocIndex, key: []byte(k)})
				return len(out) < buildChunk
			})
			return out, nil // one after another
		}
		for i := range now.Indexes {
			if ix := &now.Indexes[i]; ix.ID == old.ID && (ix.Built != old.Built || ix.Ready != old.Ready) {
				return deriveBuilt(key, &old, ix, e)
			}
		}
	}
	return out, nil
}

func deriveBuilt(key string, old, ix *indexRow, e stateBefore) (out []change, err error) {
	e.tables.scan(tableDoc, key+"\x00", key+"\x00"+old.Built, func(k string, v []byte) bool {
		_, _, id := splitDocKey(k)
		if id == old.Built {
			return true
		}
		if !ix.Ready && id > ix.Built {
			return false
		}
		var is string
		if is, _, err = indexKeys(key, ix, id, v); err != nil {
			return false
		}
		out = append(out, change{table: tableDocIndex, key: []byte(is), value: []byte{1}})
		return true
	})
	return out, err
}
