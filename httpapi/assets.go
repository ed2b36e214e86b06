package httpapi

import (
	"crypto/sha256"
	_ "embed" // the client
	"encoding/hex"

	"github.com/valyala/fasthttp"
)

// client is the JavaScript client as one module, for pages that are built of nothing
// but files: `make client` builds it from clients/typescript and compares it with this.
//
//go:embed assets/client.js
var client []byte

var clientTag = func() string {
	sum := sha256.Sum256(client)
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}()

// showClient answers the client. Scripts of every origin may import it: it holds nothing
// of this node.
func (*Server) showClient(r *request) error {
	h := &r.Response.Header
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cache-Control", "no-cache") // it changes with the binary
	h.Set("ETag", clientTag)
	if matches(string(r.Request.Header.Peek("If-None-Match")), clientTag) {
		r.SetStatusCode(fasthttp.StatusNotModified)
		return nil
	}
	r.SetContentType("text/javascript; charset=utf-8")
	r.shared(client)
	return nil
}
