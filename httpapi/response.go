package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// responseOf is what the SDK makes of a response.
type responseOf struct {
	Status   int               `json:"status"`
	Headers  map[string]string `json:"headers"`
	Body     json.RawMessage   `json:"body"`
	Encoding string            `json:"encoding"` // json, text, base64 or none
}

// CheckOutput returns nil when what a handler returned can be an answer, or says why
// not.
func CheckOutput(out json.RawMessage, response bool) error {
	if !response {
		return nil
	}
	_, _, _, err := readResponse(out)
	return err
}

// readResponse takes one of the SDK's responses apart.
func readResponse(out json.RawMessage) (res responseOf, body []byte, kind string, err error) {
	if err := json.Unmarshal(out, &res); err != nil {
		return res, nil, "", fmt.Errorf("the response cannot be read: %w", err)
	}
	if res.Status < 200 || res.Status > 599 {
		return res, nil, "", fmt.Errorf("the response has the status %d: use 200 to 599", res.Status)
	}
	for name, value := range res.Headers {
		if !settable(name, value) {
			return res, nil, "", fmt.Errorf("the response has the header %q: it is the node's to set, or its name or value have characters that it must not have", name)
		}
	}
	body, kind, err = res.body()
	return res, body, kind, err
}

// replyOutput answers with what a handler returned: one of the SDK's responses, or a
// JSON value.
func (r *request) replyOutput(out json.RawMessage, response bool) error {
	switch {
	case len(out) == 0 || string(out) == "null":
		return r.done()
	case !response:
		r.SetContentType("application/json")
		r.SetBody(append(out, '\n'))
		return nil
	}
	res, body, kind, err := readResponse(out)
	if err != nil {
		return errScript // it was checked when it was made
	}
	r.SetStatusCode(res.Status)
	r.SetContentType(kind)
	for name, value := range res.Headers {
		r.Response.Header.Set(name, value)
	}
	r.SetBody(body)
	return nil
}

func (res *responseOf) body() (body []byte, kind string, err error) {
	var text string
	switch res.Encoding {
	case "json":
		return append(res.Body, '\n'), "application/json", nil
	case "text":
		err = json.Unmarshal(res.Body, &text)
		return []byte(text), "text/plain; charset=utf-8", err
	case "base64":
		if err = json.Unmarshal(res.Body, &text); err != nil {
			return nil, "", err
		}
		body, err = base64.StdEncoding.DecodeString(text)
		return body, binaryType, err
	}
	return nil, "text/plain; charset=utf-8", nil
}

// settable reports whether a script may set a header: not what frames the message,
// and nothing that could begin another header.
func settable(name, value string) bool {
	switch strings.ToLower(name) {
	case "", "connection", "content-length", "transfer-encoding", "upgrade", "trailer", "keep-alive", "te", "date", "picloud-run":
		return false
	}
	token := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", c)
	}
	return !strings.ContainsFunc(name, func(c rune) bool { return !token(c) }) &&
		!strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f })
}
