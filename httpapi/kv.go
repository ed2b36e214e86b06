package httpapi

import (
	"mime"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

// binaryType is the content type of values that are any bytes.
const binaryType = "application/octet-stream"

// isBinary tells from the content type whether the body is any bytes or JSON.
func isBinary(r *request) (bool, error) {
	kind, _, err := mime.ParseMediaType(string(r.Request.Header.ContentType()))
	switch {
	case err == nil && kind == "application/json":
		return false, nil
	case err == nil && kind == binaryType:
		return true, nil
	}
	return false, errType.Detailf("send JSON as application/json, or any bytes as %s", binaryType)
}

func entryBody(e *picloud.Entry) api.Entry {
	b := api.Entry{Key: e.Key, Version: e.Version, UpdatedAt: api.At(e.UpdatedAt), ExpiresAt: api.At(e.ExpiresAt)}
	if e.Binary {
		b.Bytes = &e.Value
	} else {
		b.Value = e.Value
	}
	return b
}

func (s *Server) listEntries(r *request) error {
	limit, err := r.limit(100)
	if err != nil {
		return err
	}
	page, err := s.cfg.Store.Entries(picloud.EntryList{App: r.param("app"), Prefix: r.query("prefix"), After: r.query("after"), Limit: limit})
	if err != nil {
		return err
	}
	list := api.Entries{Entries: make([]api.Entry, len(page.Entries)), Next: r.next(page.Next)}
	for i := range page.Entries {
		list.Entries[i] = entryBody(&page.Entries[i])
	}
	return r.reply(fasthttp.StatusOK, list)
}

// showEntry answers with the value itself.
func (s *Server) showEntry(r *request) error {
	e, err := s.cfg.Store.Entry(r.param("app"), r.param("key"))
	if err != nil {
		return err
	}
	if !e.ExpiresAt.IsZero() {
		r.Response.Header.Set("Expires", e.ExpiresAt.Format(time.RFC1123[:len(time.RFC1123)-3]+"GMT"))
	}
	if r.fresh(e.Version) {
		return nil
	}
	r.SetContentType("application/json")
	if e.Binary {
		r.SetContentType(binaryType)
	}
	r.Response.SetBodyRaw(e.Value)
	return nil
}

func (s *Server) setEntry(r *request) error {
	binary, err := isBinary(r)
	if err != nil {
		return err
	}
	cond, err := r.precondition()
	if err != nil {
		return err
	}
	ttl, err := r.ttl()
	if err != nil {
		return err
	}
	e, err := s.cfg.Store.SetEntry(r.patience(), picloud.EntryChange{App: r.param("app"), Key: r.param("key"), Value: r.PostBody(), Binary: binary, TTL: ttl, If: cond})
	if err != nil {
		return err
	}
	return r.replyChanged(e.Version, api.Changed{Key: e.Key, Version: e.Version, UpdatedAt: api.At(e.UpdatedAt), ExpiresAt: api.At(e.ExpiresAt)})
}

func (s *Server) deleteEntry(r *request) error {
	cond, err := r.precondition()
	if err != nil {
		return err
	}
	if err := s.cfg.Store.DeleteEntry(r.patience(), picloud.Deletion{App: r.param("app"), Name: r.param("key"), If: cond}); err != nil {
		return err
	}
	return r.done()
}

func (s *Server) incrementEntry(r *request) error {
	b := api.Increment{By: 1}
	if err := r.decode(&b, true); err != nil {
		return err
	}
	ttl, err := seconds(b.TTLSec)
	if err != nil {
		return err
	}
	e, err := s.cfg.Store.IncrementEntry(r.patience(), picloud.EntryIncrement{App: r.param("app"), Key: r.param("key"), By: b.By, TTL: ttl})
	if err != nil {
		return err
	}
	return r.replyChanged(e.Version, entryBody(&e))
}

// ttl returns the time to live that the query asks for.
func (r *request) ttl() (time.Duration, error) {
	text := r.query("ttl_sec")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, picloud.ErrTTLInvalid.Detailf("ttl_sec: use 1 to %d", int64(picloud.MaxTTL/time.Second))
	}
	return seconds(n)
}

func seconds(n int64) (time.Duration, error) {
	if n < 0 || n > int64(picloud.MaxTTL/time.Second) {
		return 0, picloud.ErrTTLInvalid.Detailf("ttl_sec: use 1 to %d", int64(picloud.MaxTTL/time.Second))
	}
	return time.Duration(n) * time.Second, nil
}
