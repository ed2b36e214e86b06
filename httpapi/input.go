package httpapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/auth"
	"github.com/picloud/picloud/budget"
	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/pathpattern"
)

// readInput reads the body of a request and returns what its script gets: the request as
// JSON. That is all that is held while the run waits, and its memory is drawn before it
// is made, since text may grow to six times its size.
func (r *request) readInput(path string, params []pathpattern.Param) (json.RawMessage, error) {
	if err := r.readBody(maxEndpointBody); err != nil {
		return nil, err
	}
	body := r.PostBody()
	kind, _, _ := mime.ParseMediaType(string(r.Request.Header.ContentType())) // an unreadable one is none
	encoding := encodingOf(kind, body)
	head, err := picloud.EncodeJSON(r.head(path, params, encoding.binary))
	if err != nil {
		return nil, err
	}
	const field = `,"body":`
	size := len(head) + len(field) + encoding.size(body)
	r.input = r.lease(budget.Runs)
	if err := r.input.Resize(size); err != nil {
		return nil, err
	}
	input := append(make([]byte, 0, size), head[:len(head)-1]...)
	input = append(input, field...)
	if input, err = encoding.appendTo(input, body); err != nil {
		return nil, err
	}
	r.Request.SetBodyRaw(nil)
	r.body.Release()
	return append(input, '}'), nil
}

// head is a request without its body, as scripts get it: without API keys, wherever the
// sender put them, since scripts keep what they get, and so does a request that is
// answered later. The body is the sender's data and stays as it is.
func (r *request) head(path string, found []pathpattern.Param, binary bool) map[string]any {
	params := make(map[string]string, len(found))
	for _, p := range found {
		params[p.Name] = auth.RedactAPIKeys(p.Value)
	}
	query := map[string]any{}
	for k, v := range r.QueryArgs().All() {
		name, value := auth.RedactAPIKeys(string(k)), auth.RedactAPIKeys(string(v))
		switch old := query[name].(type) {
		case nil:
			query[name] = value
		case string:
			query[name] = []string{old, value}
		case []string:
			query[name] = append(old, value)
		}
	}
	headers := map[string]string{}
	for k, v := range r.Request.Header.All() {
		name, value := strings.ToLower(auth.RedactAPIKeys(string(k))), string(v)
		if strings.HasSuffix(name, "authorization") && auth.HoldsAPIKey(value) { // Proxy-Authorization, too
			continue
		}
		value = strings.ToValidUTF8(auth.RedactAPIKeys(value), "\uFFFD")
		if old, ok := headers[name]; ok {
			value = old + ", " + value
		}
		headers[name] = value
	}
	head := map[string]any{
		"method": string(r.Method()), "path": auth.RedactAPIKeys(path), "params": params, "query": query, "headers": headers, "address": r.s.address(r.RequestCtx),
	}
	if binary {
		head["binary"] = true
	}
	return head
}

// bodyEncoding is how a body becomes a JSON value.
type bodyEncoding struct {
	binary   bool
	size     func(body []byte) int // at most so many bytes
	appendTo func(b, body []byte) ([]byte, error)
}

// encodingOf returns how scripts get a body of a type: JSON as what it says, text as a
// string, anything else as base64.
func encodingOf(kind string, body []byte) bodyEncoding {
	switch {
	case len(body) == 0:
		return bodyEncoding{size: func([]byte) int { return len("null") }, appendTo: func(b, _ []byte) ([]byte, error) { return append(b, "null"...), nil }}
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		return bodyEncoding{size: func(body []byte) int { return len(body) }, appendTo: func(b, body []byte) ([]byte, error) {
			compact := bytes.NewBuffer(b[len(b):]) // the room behind b
			err := check.CompactJSON(compact, body)
			return append(b, compact.Bytes()...), err
		}}
	case utf8.Valid(body):
		return bodyEncoding{size: quotedSize, appendTo: appendQuoted}
	}
	return bodyEncoding{binary: true, size: func(body []byte) int { return base64.StdEncoding.EncodedLen(len(body)) + 2 }, appendTo: func(b, body []byte) ([]byte, error) {
		return append(base64.StdEncoding.AppendEncode(append(b, '"'), body), '"'), nil
	}}
}

// quotedSize returns how long a text is as a JSON string.
func quotedSize(text []byte) int {
	n := 2
	for i, c := range text {
		switch {
		case c == '"', c == '\\', c == '\b', c == '\f', c == '\n', c == '\r', c == '\t':
			n += 2
		case c < 0x20:
			n += 6
		case c == 0xe2 && i+2 < len(text) && text[i+1] == 0x80 && text[i+2]&^1 == 0xa8: // line separators
			n += 4
		default:
			n++
		}
	}
	return n
}

// appendQuoted appends a text as a JSON string, in steps that make little garbage.
func appendQuoted(b, text []byte) ([]byte, error) {
	const step = 16 << 10
	b = append(b, '"')
	for len(text) > 0 {
		n := min(len(text), step)
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n--
		}
		part, err := picloud.EncodeJSON(string(text[:n]))
		if err != nil {
			return b, err
		}
		b, text = append(b, part[1:len(part)-1]...), text[n:]
	}
	return append(b, '"'), nil
}
