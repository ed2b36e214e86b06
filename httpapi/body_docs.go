package httpapi

import (
	"encoding/json"

	"github.com/picloud/picloud/provision"
)

// The bodies about documents.

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

// CollectionSpec says by which fields documents are found quickly.
type CollectionSpec = provision.CollectionSpec

// Document is a document with what is known of it.
type Document struct {
	ID        string          `json:"id"`
	Version   uint64          `json:"version"`
	CreatedAt Time            `json:"created_at"`
	UpdatedAt Time            `json:"updated_at"`
	Body      json.RawMessage `json:"body"`
}

// Documents is a page of documents; Next asks for the following one.
type Documents struct {
	Documents []Document `json:"documents"`
	Next      *string    `json:"next"`
}

// Find asks for documents. Where has for each field the value it equals, or an
// object of comparisons: eq, gt, gte, lt, lte, prefix.
type Find struct {
	Where      json.RawMessage `json:"where,omitempty"`
	Sort       string          `json:"sort,omitempty"`
	Descending bool            `json:"descending,omitempty"`
	After      string          `json:"after,omitempty"` // next of the page before
	Limit      int             `json:"limit,omitempty"` // 100 if not given
}

// Found is a page of what was asked for. Examined says how many documents had to
// be looked at: many more than were found ask for an index.
type Found struct {
	Documents []Document `json:"documents"`
	Next      *string    `json:"next"`
	Examined  int        `json:"examined"`
}
