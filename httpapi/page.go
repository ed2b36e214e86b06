package httpapi

import _ "embed" // the page

//go:embed page/index.html
var page []byte

func (s *Server) showPage(r *request) error {
	r.SetContentType("text/html; charset=utf-8")
	r.Response.Header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	r.shared(page)
	return nil
}
