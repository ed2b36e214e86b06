package picloud

import "time"

// Document is a JSON object in a collection of an app.
type Document struct {
	App, Collection, ID  string
	Body                 []byte // compact JSON; must not be changed, since readers share its bytes
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
	Cause               Cause
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
	MaxCollections = 1000 // of one app, that are declared
	MaxIndexes     = 10   // of a collection
	MaxConditions  = 20   // of a query
	MaxField       = 128  // bytes of the name of a field, dots included
)

// Errors about documents.
var (
	ErrDocumentNotFound   = &Error{Code: CodeNotFound, Type: "document-not-found", Title: "There is no such document"}
	ErrDocumentInvalid    = &Error{Code: CodeUnprocessable, Type: "document-invalid", Title: "The document is not valid"}
	ErrDocumentTooLarge   = &Error{Code: CodeTooLarge, Type: "document-too-large", Title: "The document is too large"}
	ErrCollectionNotFound = &Error{Code: CodeNotFound, Type: "collection-not-found", Title: "There is no such collection"}
	ErrQueryInvalid       = &Error{Code: CodeUnprocessable, Type: "query-invalid", Title: "The query is not valid"}
)
