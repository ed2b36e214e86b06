package httpapi

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

func fileBody(f *picloud.File) api.File {
	return api.File{Path: f.Path, Type: f.Type, Size: f.Size, SHA256: f.SHA256, Version: f.Version, CreatedAt: api.At(f.CreatedAt), UpdatedAt: api.At(f.UpdatedAt)}
}

func (s *Server) listFiles(r *request) error {
	limit, err := r.limit(100)
	if err != nil {
		return err
	}
	page, next, err := s.cfg.Store.Files(r.param("app"), r.query("prefix"), r.query("after"), limit)
	if err != nil {
		return err
	}
	out := api.Files{Files: make([]api.File, len(page)), Next: r.next(next)}
	for i := range page {
		out.Files[i] = fileBody(&page[i])
	}
	return r.reply(fasthttp.StatusOK, out)
}

// showFile answers with the content, or a part of it (RFC 9110, section 14).
func (s *Server) showFile(r *request) error {
	f, content, err := s.cfg.Store.OpenFile(r.param("app"), r.param("path"))
	if err != nil {
		return err
	}
	h := &r.Response.Header
	h.Set("Last-Modified", f.UpdatedAt.Format(http.TimeFormat))
	if m := string(r.Request.Header.Peek("If-Match")); m != "" && !matches(m, tagOf(f.Version)) {
		return errors.Join(picloud.ErrPrecondition.Detailf("the file has the version %d", f.Version), content.Close())
	}
	if r.fresh(f.Version) || r.unmodified(f.UpdatedAt) {
		return content.Close()
	}
	h.Set("Accept-Ranges", "bytes")
	h.Set("Repr-Digest", reprDigest(f.SHA256))
	h.Set("Content-Security-Policy", "sandbox") // what apps keep is no part of this site
	r.SetContentType(f.Type)
	part := span{length: f.Size}
	if text := string(r.Request.Header.Peek("Range")); text != "" && r.IsGet() && r.sameRange(&f) {
		asked, kind := parseRange(text, f.Size)
		switch kind {
		case rangeBeyond:
			h.Set("Content-Range", "bytes */"+strconv.FormatInt(f.Size, 10))
			h.Del("Repr-Digest")
			s.problem(r.RequestCtx, fasthttp.StatusRequestedRangeNotSatisfiable, errRange.Detailf("the file has %d bytes", f.Size))
			return content.Close()
		case rangeOK:
			part = asked
			h.Set("Content-Range", asked.String()+"/"+strconv.FormatInt(f.Size, 10))
			r.SetStatusCode(fasthttp.StatusPartialContent)
		case rangeNone:
		}
	}
	var body io.Reader = content // which checks itself
	if part.length < f.Size {
		if _, err := content.Seek(part.first, io.SeekStart); err != nil {
			return errors.Join(err, content.Close())
		}
		body = io.LimitReader(content, part.length)
	}
	r.SetBodyStream(&download{r: body, file: content, alive: r.alive}, int(part.length))
	return nil
}

var errRange = &picloud.Error{Code: picloud.CodeInvalid, Type: "range-not-satisfiable", Title: "The file does not have that part"}

// sameRange reports whether If-Range, if it is there, names the file as it is.
func (r *request) sameRange(f *picloud.File) bool {
	cond := string(r.Request.Header.Peek("If-Range"))
	return cond == "" || cond == tagOf(f.Version) || cond == f.UpdatedAt.Format(http.TimeFormat)
}

// span is a part of a file.
type span struct{ first, length int64 }

// String writes the span as Content-Range does.
func (p span) String() string {
	return "bytes " + strconv.FormatInt(p.first, 10) + "-" + strconv.FormatInt(p.first+p.length-1, 10)
}

type rangeKind int

const (
	rangeNone   rangeKind = iota // nothing that is understood: all of the file
	rangeOK                      // a part
	rangeBeyond                  // a part that the file does not have
)

// parseRange reads the header Range. Several ranges are answered with the whole
// file, as RFC 9110 allows.
func parseRange(header string, size int64) (span, rangeKind) {
	text, ok := strings.CutPrefix(header, "bytes=")
	from, to, dash := strings.Cut(strings.TrimSpace(text), "-")
	if !ok || !dash {
		return span{}, rangeNone
	}
	first, errFrom := strconv.ParseUint(from, 10, 63)
	last, errTo := strconv.ParseUint(to, 10, 63)
	a, b := int64(first), int64(last) // #nosec G115 -- 63 bits
	switch {
	case from == "" && errTo == nil: // the last so many bytes
		if b == 0 || size == 0 {
			return span{}, rangeBeyond
		}
		b = min(b, size)
		return span{size - b, b}, rangeOK
	case errFrom != nil || (to != "" && errTo != nil) || (to != "" && b < a):
		return span{}, rangeNone
	case a >= size:
		return span{}, rangeBeyond
	case to == "":
		b = size - 1
	}
	return span{a, min(b, size-1) - a + 1}, rangeOK
}

// download reads what is sent, which lets the sending go on.
type download struct {
	r     io.Reader
	file  io.Closer
	alive func()
}

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	d.alive()
	return d.r.Read(p)
}

// Close implements io.Closer.
func (d *download) Close() error { return d.file.Close() }

// putFile reads the content as it arrives.
func (s *Server) putFile(r *request) error {
	cond, err := r.precondition()
	if err != nil {
		return err
	}
	h := &r.Request.Header
	if len(h.Peek("Content-Range")) > 0 {
		return errBody.Detailf("a file is written as a whole: send it without Content-Range")
	}
	if coding := string(h.ContentEncoding()); coding != "" && coding != "identity" {
		return errType.Detailf("Content-Encoding: send the file as it is, without %s", coding)
	}
	sum, err := r.digest()
	if err != nil {
		return err
	}
	in, done, err := r.upload()
	if err != nil {
		return err
	}
	defer done()
	f, err := s.cfg.Store.PutFile(r.patience(), picloud.FileChange{
		App: r.param("app"), Path: r.param("path"), Type: string(h.ContentType()), Size: int64(h.ContentLength()), SHA256: sum, If: cond,
	}, in)
	if err != nil {
		return err
	}
	return r.replyChanged(f.Version, fileBody(&f))
}

func (s *Server) deleteFile(r *request) error {
	cond, err := r.precondition()
	if err != nil {
		return err
	}
	if err := s.cfg.Store.DeleteFile(r.patience(), picloud.Deletion{App: r.param("app"), Name: r.param("path"), If: cond}); err != nil {
		return err
	}
	return r.done()
}

// reprDigest is the header of that name (RFC 9530).
func reprDigest(sum string) string {
	b, err := hex.DecodeString(sum)
	if err != nil {
		return "" // it was made by us
	}
	return "sha-256=:" + base64.StdEncoding.EncodeToString(b) + ":"
}

// digest returns the SHA-256 that Repr-Digest or Content-Digest announce; empty:
// none.
func (r *request) digest() (string, error) {
	for _, name := range []string{"Repr-Digest", "Content-Digest"} {
		for one := range strings.SplitSeq(string(r.Request.Header.Peek(name)), ",") {
			one = strings.TrimSpace(one)
			text, ok := strings.CutPrefix(one, "sha-256=")
			if !ok && (one == "" || strings.Contains(one, "=:")) {
				continue // another algorithm
			}
			b, err := base64.StdEncoding.DecodeString(strings.Trim(text, ":"))
			if err != nil || len(b) != 32 || !strings.HasPrefix(text, ":") {
				return "", errBody.Detailf("%s: send sha-256=:BASE64:, as RFC 9530 says", name)
			}
			return hex.EncodeToString(b), nil
		}
	}
	return "", nil
}
