package api

import "encoding/json"

// Collection is a collection of documents.
type Collection struct {
	Name      string   `json:"name"`
	Indexes   []string `json:"indexes"`
	CreatedAt Time     `json:"created_at"` // null: it is not declared
	UpdatedAt Time     `json:"updated_at"`
}

// Collections is a list of collections.
type Collections struct {
	Collections []Collection `json:"collections"`
}

// Document is a document and its metadata.
type Document struct {
	ID        string          `json:"id"`
	Version   uint64          `json:"version"`
	CreatedAt Time            `json:"created_at"`
	UpdatedAt Time            `json:"updated_at"`
	Body      json.RawMessage `json:"body"`
}

// Documents is a page of documents; Next is the address of the next page.
type Documents struct {
	Documents []Document `json:"documents"`
	Next      *string    `json:"next"`
}

// Find queries documents. Where has for each field the value it equals, or an
// object of comparisons: eq, gt, gte, lt, lte, prefix.
type Find struct {
	Where      json.RawMessage `json:"where,omitempty"`
	Sort       string          `json:"sort,omitempty"`
	Descending bool            `json:"descending,omitempty"`
	After      string          `json:"after,omitempty"` // the previous page's next
	Limit      int             `json:"limit,omitempty"` // default 100
}

// Found is a page of the answer to Find; Next is the After of the next page.
// Examined counts the documents that were read: many more than were found call for
// an index.
type Found struct {
	Documents []Document `json:"documents"`
	Next      *string    `json:"next"`
	Examined  int        `json:"examined"`
}
