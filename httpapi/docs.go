package httpapi

import (
	"mime"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/check"
)

func collectionBody(c *picloud.Collection) api.Collection {
	b := api.Collection{Name: c.Name, Indexes: c.Indexes, CreatedAt: api.At(c.CreatedAt), UpdatedAt: api.At(c.UpdatedAt)}
	if b.Indexes == nil {
		b.Indexes = []string{}
	}
	return b
}

func documentBody(d *picloud.Document) api.Document {
	return api.Document{ID: d.ID, Version: d.Version, CreatedAt: api.At(d.CreatedAt), UpdatedAt: api.At(d.UpdatedAt), Body: d.Body}
}

func documentBodies(list []picloud.Document) []api.Document {
	out := make([]api.Document, len(list))
	for i := range list {
		out[i] = documentBody(&list[i])
	}
	return out
}

func (s *Server) listCollections(r *request) error {
	list, err := s.cfg.Store.Collections(r.param("app"))
	if err != nil {
		return err
	}
	out := api.Collections{Collections: make([]api.Collection, len(list))}
	for i := range list {
		out.Collections[i] = collectionBody(&list[i])
	}
	return r.reply(fasthttp.StatusOK, out)
}

func (s *Server) saveCollection(r *request) error {
	var b api.CollectionSpec
	if err := r.decode(&b, false); err != nil {
		return err
	}
	c, err := s.cfg.Store.SaveCollection(r.patience(), picloud.Collection{App: r.param("app"), Name: r.param("collection"), Indexes: b.Indexes})
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, collectionBody(&c))
}

func (s *Server) deleteCollection(r *request) error {
	if err := s.cfg.Store.DeleteCollection(r.patience(), r.param("app"), r.param("collection")); err != nil {
		return err
	}
	return r.done()
}

func (s *Server) listDocuments(r *request) error {
	limit, err := r.limit(100)
	if err != nil {
		return err
	}
	page, err := s.cfg.Store.FindDocuments(picloud.DocumentQuery{App: r.param("app"), Collection: r.param("collection"), After: r.query("after"), Limit: limit})
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, api.Documents{Documents: documentBodies(page.Documents), Next: r.next(page.Next)})
}

func (s *Server) findDocuments(r *request) error {
	b := api.Find{Limit: 100}
	if err := r.decode(&b, true); err != nil {
		return err
	}
	if b.Limit < 1 || b.Limit > picloud.MaxPage {
		return errBody.Detailf("limit: use 1 to %d", picloud.MaxPage)
	}
	where, err := check.Where(b.Where)
	if err != nil {
		return err
	}
	page, err := s.cfg.Store.FindDocuments(picloud.DocumentQuery{
		App: r.param("app"), Collection: r.param("collection"), Where: where, Sort: b.Sort, Descending: b.Descending, After: b.After, Limit: b.Limit,
	})
	if err != nil {
		return err
	}
	out := api.Found{Documents: documentBodies(page.Documents), Examined: page.Examined}
	if page.Next != "" {
		out.Next = &page.Next
	}
	return r.reply(fasthttp.StatusOK, out)
}

func (s *Server) showDocument(r *request) error {
	d, err := s.cfg.Store.Document(r.param("app"), r.param("collection"), r.param("id"))
	if err != nil || r.fresh(d.Version) {
		return err
	}
	return r.reply(fasthttp.StatusOK, documentBody(&d))
}

func (s *Server) createDocument(r *request) error {
	d, err := s.changeDocument(r, picloud.DocumentChange{})
	if err != nil {
		return err
	}
	r.Response.Header.Set("ETag", tagOf(d.Version))
	return r.reply(fasthttp.StatusCreated, documentBody(&d))
}

func (s *Server) putDocument(r *request) error {
	d, err := s.changeDocument(r, picloud.DocumentChange{ID: r.param("id")})
	if err != nil {
		return err
	}
	return r.replyChanged(d.Version, documentBody(&d))
}

// mergeType is the content type of merge patches (RFC 7396).
const mergeType = "application/merge-patch+json"

func (s *Server) mergeDocument(r *request) error {
	if kind, _, err := mime.ParseMediaType(string(r.Request.Header.ContentType())); err == nil && kind == mergeType {
		r.Request.Header.SetContentType("application/json")
	}
	d, err := s.changeDocument(r, picloud.DocumentChange{ID: r.param("id"), Merge: true})
	if err != nil {
		return err
	}
	return r.replyChanged(d.Version, documentBody(&d))
}

func (s *Server) changeDocument(r *request, c picloud.DocumentChange) (picloud.Document, error) {
	if err := requireJSON(r.RequestCtx); err != nil {
		return picloud.Document{}, err
	}
	var err error
	if c.If, err = r.precondition(); err != nil {
		return picloud.Document{}, err
	}
	c.App, c.Collection, c.Body = r.param("app"), r.param("collection"), r.PostBody()
	return s.cfg.Store.PutDocument(r.patience(), c)
}

func (s *Server) deleteDocument(r *request) error {
	cond, err := r.precondition()
	if err != nil {
		return err
	}
	if err := s.cfg.Store.DeleteDocument(r.patience(), picloud.Deletion{App: r.param("app"), Container: r.param("collection"), Name: r.param("id"), If: cond}); err != nil {
		return err
	}
	return r.done()
}
