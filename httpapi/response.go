package httpapi

import (
	"encoding/json"

	"github.com/picloud/picloud/sdk"
)

// replyOutput answers with what a handler returned: one of the SDK's responses, or a
// JSON value.
func (r *request) replyOutput(out json.RawMessage, response bool) error {
	switch {
	case len(out) == 0 || string(out) == "null":
		return r.done()
	case !response:
		r.SetContentType("application/json")
		r.Response.SetBodyRaw(append(out, '\n'))
		return nil
	}
	res, err := sdk.ReadResponse(out)
	if err != nil {
		return errScript // it was checked when it was made
	}
	r.SetStatusCode(res.Status)
	r.SetContentType(res.ContentType)
	for name, value := range res.Headers {
		r.Response.Header.Set(name, value)
	}
	r.Response.SetBodyRaw(res.Body)
	return nil
}
