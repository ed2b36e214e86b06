package sdk

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

// Documents keeps documents.
type Documents interface {
	Document(app, collection, id string) (picloud.Document, error)
	FindDocuments(q picloud.DocumentQuery) (picloud.DocumentPage, error)
	PutDocument(ctx context.Context, c picloud.DocumentChange) (picloud.Document, error)
	DeleteDocument(ctx context.Context, d picloud.Deletion) error
}

// document is a document as the JavaScript side reads it.
type document struct {
	ID        string          `json:"id"`
	Body      json.RawMessage `json:"body"`
	Version   uint64          `json:"version"`
	CreatedAt string          `json:"created_at"`
	UpdatedAt string          `json:"updated_at"`
}

func documentOf(d *picloud.Document) document {
	return document{
		ID: d.ID, Body: d.Body, Version: d.Version,
		CreatedAt: d.CreatedAt.Format(picloud.TimeLayout), UpdatedAt: d.UpdatedAt.Format(picloud.TimeLayout),
	}
}

func (h *Host) docsGet(ctx context.Context, c *call) (any, error) {
	var collection, id string
	if err := c.read(&collection, &id); err != nil {
		return nil, err
	}
	d, err := h.cfg.Store.Document(c.app, collection, id)
	if errors.Is(err, picloud.ErrDocumentNotFound) {
		return nil, nil //nolint:nilnil // null is the answer
	}
	if err == nil {
		err = c.answers(ctx, len(d.Body))
	}
	return documentOf(&d), err
}

func (h *Host) docsPut(ctx context.Context, c *call) (any, error) {
	var o struct {
		Version uint64 `json:"version"`
		Create  bool   `json:"create"`
		Merge   bool   `json:"merge"`
	}
	in := picloud.DocumentChange{App: c.app, Cause: c.cause}
	var body json.RawMessage
	if err := c.read(&in.Collection, &in.ID, &body, &o); err != nil {
		return nil, err
	}
	var err error
	if in.If, err = precondition(o.Version, o.Create); err != nil {
		return nil, err
	}
	in.Body, in.Merge = body, o.Merge
	d, err := h.cfg.Store.PutDocument(ctx, in)
	return documentOf(&d), err
}

func (h *Host) docsDelete(ctx context.Context, c *call) (any, error) {
	var collection, id string
	var o struct {
		Version uint64 `json:"version"`
	}
	if err := c.read(&collection, &id, &o); err != nil {
		return nil, err
	}
	err := h.cfg.Store.DeleteDocument(ctx, picloud.Deletion{App: c.app, Container: collection, Name: id, If: picloud.Precondition{Version: o.Version}, Cause: c.cause})
	if errors.Is(err, picloud.ErrDocumentNotFound) {
		return false, nil
	}
	return true, err
}

func (h *Host) docsFind(ctx context.Context, c *call) (any, error) {
	var o struct {
		Where      json.RawMessage `json:"where"`
		Sort       string          `json:"sort"`
		Descending bool            `json:"descending"`
		page
	}
	q := picloud.DocumentQuery{App: c.app}
	if err := c.read(&q.Collection, &o); err != nil {
		return nil, err
	}
	var err error
	if q.Where, err = check.Where(o.Where); err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	q.Sort, q.Descending, q.After, q.Limit = o.Sort, o.Descending, o.After, o.Limit
	found, err := h.cfg.Store.FindDocuments(q)
	if err != nil {
		return nil, err
	}
	size := 0
	for i := range found.Documents {
		size += len(found.Documents[i].Body)
	}
	if err := c.answers(ctx, size); err != nil {
		return nil, err
	}
	list := make([]document, len(found.Documents))
	for i := range found.Documents {
		list[i] = documentOf(&found.Documents[i])
	}
	return map[string]any{"documents": list, "next": found.Next}, nil
}
