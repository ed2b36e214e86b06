package picloud

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Document is a JSON object in a collection of an app.
type Document struct {
	App, Collection, ID  string
	Body                 []byte // compact JSON; nobody may change its bytes, since readers share them
	Version              uint64 // rises with every change, and when it is made again after its end
	CreatedAt, UpdatedAt time.Time
}

// Collection says by which fields the documents of a collection can be found
// without looking at all of them. One that says nothing need not be declared.
type Collection struct {
	App       string    `json:"app"`
	Name      string    `json:"name"`
	Indexes   []string  `json:"indexes"` // fields, such as owner.name
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// DocumentChange asks for a document to be written.
type DocumentChange struct {
	App, Collection, ID string // without ID a new document gets one, rising with time
	Body                []byte
	Merge               bool // Body is a merge patch (RFC 7396) for the document that is there
	If                  Precondition
}

// DocumentQuery asks for a page of documents. They come in the order of a field,
// and where that is equal of their ids; values of different types in the order
// missing, null, false, true, numbers, texts, the rest. Of long texts the first
// 256 bytes count for the order.
type DocumentQuery struct {
	App, Collection string
	Where           []Condition // all of them hold
	Sort            string      // field; empty: by id
	Descending      bool
	After           string // Next of the page before
	Limit           int    // documents at most; 0: MaxPage
}

// DocumentPage is a page of documents. Next is what After has to be for the
// following one; empty: there is none.
type DocumentPage struct {
	Documents []Document
	Next      string
	Examined  int // documents that were looked at
}

// Condition is something that holds for a field of a document.
type Condition struct {
	Field string
	Op    Op
	Value any // string, float64, bool or nil
}

// Op is how a condition compares. Only values of one type compare; a field that is
// missing is equal to null, and to nothing else.
type Op string

// The comparisons.
const (
	OpEqual          Op = "eq"
	OpGreater        Op = "gt"
	OpGreaterOrEqual Op = "gte"
	OpLess           Op = "lt"
	OpLessOrEqual    Op = "lte"
	OpPrefix         Op = "prefix" // of a text
)

// Limits of documents.
const (
	MaxIndexes    = 10  // of a collection
	MaxConditions = 20  // of a query
	MaxField      = 128 // bytes of the name of a field, dots included
)

// CheckField returns nil for the name of a field: parts joined by dots.
func CheckField(name string) error {
	if name == "" || len(name) > MaxField || slices.Contains(strings.Split(name, "."), "") || strings.ContainsRune(name, 0) {
		return ErrQueryInvalid.Detailf("%q is not the name of a field: use 1 to %d bytes, parts joined by dots", name, MaxField)
	}
	return nil
}

// CheckDocument returns a document as it is kept.
func CheckDocument(body []byte) ([]byte, error) {
	if len(body) > MaxValue {
		return nil, ErrDocumentTooLarge.Detailf("it has %d bytes, the limit is %d: keep large things as files", len(body), MaxValue)
	}
	var b bytes.Buffer
	if err := CompactJSON(&b, body); err != nil {
		return nil, err
	}
	if b.Bytes()[0] != '{' {
		return nil, ErrDocumentInvalid.Detailf("send a JSON object")
	}
	return b.Bytes(), nil
}

// ParseWhere reads conditions as they are written in JSON: an object that has for
// each field a value it equals, or an object of comparisons.
func ParseWhere(raw []byte) ([]Condition, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, ErrQueryInvalid.Detailf("where: send an object, such as {\"owner\": \"ada\", \"age\": {\"gte\": 18}}")
	}
	var list []Condition
	for field, value := range fields {
		if err := CheckField(field); err != nil {
			return nil, err
		}
		ops := map[string]json.RawMessage{string(OpEqual): value}
		if len(value) > 0 && value[0] == '{' {
			ops = nil
			if err := json.Unmarshal(value, &ops); err != nil || len(ops) == 0 {
				return nil, ErrQueryInvalid.Detailf("where.%s: use eq, gt, gte, lt, lte or prefix", field)
			}
		}
		for op, v := range ops {
			c, err := condition(field, Op(op), v)
			if err != nil {
				return nil, err
			}
			list = append(list, c)
		}
	}
	if len(list) > MaxConditions {
		return nil, ErrQueryInvalid.Detailf("where: it has %d conditions, the limit is %d", len(list), MaxConditions)
	}
	slices.SortFunc(list, func(a, b Condition) int {
		return strings.Compare(a.Field+"\x00"+string(a.Op), b.Field+"\x00"+string(b.Op))
	})
	return list, nil
}

func condition(field string, op Op, raw json.RawMessage) (Condition, error) {
	c := Condition{Field: field, Op: op}
	if err := json.Unmarshal(raw, &c.Value); err != nil {
		return c, ErrQueryInvalid.Detailf("where.%s: a number, a text, true, false or null is expected", field)
	}
	_, text := c.Value.(string)
	_, number := c.Value.(float64)
	_, truth := c.Value.(bool)
	switch op {
	case OpEqual:
		if !text && !number && !truth && c.Value != nil {
			return c, ErrQueryInvalid.Detailf("where.%s: a number, a text, true, false or null is expected", field)
		}
	case OpGreater, OpGreaterOrEqual, OpLess, OpLessOrEqual:
		if !text && !number {
			return c, ErrQueryInvalid.Detailf("where.%s.%s: a number or a text is expected", field, op)
		}
	case OpPrefix:
		if !text {
			return c, ErrQueryInvalid.Detailf("where.%s.prefix: a text is expected", field)
		}
	default:
		return c, ErrQueryInvalid.Detailf("where.%s: %q is not known: use eq, gt, gte, lt, lte or prefix", field, op)
	}
	return c, nil
}

// Errors about documents.
var (
	ErrDocumentNotFound   = &Error{Code: CodeNotFound, Type: "document-not-found", Title: "There is no such document"}
	ErrDocumentInvalid    = &Error{Code: CodeUnprocessable, Type: "document-invalid", Title: "The document is not valid"}
	ErrDocumentTooLarge   = &Error{Code: CodeTooLarge, Type: "document-too-large", Title: "The document is too large"}
	ErrCollectionNotFound = &Error{Code: CodeNotFound, Type: "collection-not-found", Title: "There is no such collection"}
	ErrQueryInvalid       = &Error{Code: CodeUnprocessable, Type: "query-invalid", Title: "The query is not valid"}
)
