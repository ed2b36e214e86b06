package sdk

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Response is an answer to an HTTP request that a script made with the SDK's
// response functions.
type Response struct {
	Status      int // 200 to 599
	Headers     map[string]string
	Body        []byte
	ContentType string // of the body; Headers may have another one
}

// ReadResponse reads a response from the output of a run. The error says what in it
// cannot be sent.
func ReadResponse(out json.RawMessage) (Response, error) {
	var raw struct {
		Status   int               `json:"status"`
		Headers  map[string]string `json:"headers"`
		Body     json.RawMessage   `json:"body"`
		Encoding string            `json:"encoding"` // json, text, base64 or none
	}
	if err := json.Unmarshal(out, &raw); err != nil {
		return Response{}, fmt.Errorf("the response cannot be read: %w", err)
	}
	if raw.Status < 200 || raw.Status > 599 {
		return Response{}, fmt.Errorf("the response has the status %d: use 200 to 599", raw.Status)
	}
	for name, value := range raw.Headers {
		if !HeaderAllowed(name, value) {
			return Response{}, fmt.Errorf("the response has the header %q: it is the node's to set, or its name or value have characters that it must not have", name)
		}
		if !responseHeader(name) {
			return Response{}, fmt.Errorf("the response has the header %q, which no app may set: leave it out, or give a header of your own a name that begins with x-", name)
		}
	}
	body, kind, err := decodeBody(raw.Encoding, raw.Body)
	return Response{Status: raw.Status, Headers: raw.Headers, Body: body, ContentType: kind}, err
}

func decodeBody(encoding string, raw json.RawMessage) (body []byte, kind string, err error) {
	var text string
	switch encoding {
	case "json":
		return append(raw, '\n'), "application/json", nil
	case "text":
		err = json.Unmarshal(raw, &text)
		return []byte(text), "text/plain; charset=utf-8", err
	case "base64":
		if err = json.Unmarshal(raw, &text); err != nil {
			return nil, "", err
		}
		body, err = base64.StdEncoding.DecodeString(text)
		return body, "application/octet-stream", err
	}
	return nil, "text/plain; charset=utf-8", nil
}

// CheckOutput returns an error when the output of a run cannot answer an HTTP request:
// it is a response, and ReadResponse cannot read it.
func CheckOutput(out json.RawMessage, response bool) error {
	if !response {
		return nil
	}
	_, err := ReadResponse(out)
	return err
}

// responseHeaders are the headers of responses that describe the response itself. What
// speaks for the whole site, such as Set-Cookie, Clear-Site-Data, Alt-Svc or
// Strict-Transport-Security, is not among them: all apps share it with the node.
var responseHeaders = map[string]bool{
	"accept-patch": true, "accept-post": true, "accept-ranges": true, "age": true, "allow": true, "cache-control": true, "content-digest": true,
	"content-disposition": true, "content-encoding": true, "content-language": true, "content-location": true, "content-range": true,
	"content-security-policy": true, "content-type": true, "deprecation": true, "etag": true, "expires": true, "last-modified": true, "link": true,
	"location": true, "permissions-policy": true, "preference-applied": true, "referrer-policy": true, "repr-digest": true, "retry-after": true,
	"server-timing": true, "sunset": true, "timing-allow-origin": true, "vary": true,
	"access-control-allow-headers": true, "access-control-allow-methods": true, "access-control-allow-origin": true,
	"access-control-expose-headers": true, "access-control-max-age": true,
}

// proxyHeaders begin the names of headers that make a proxy in front of the node do
// something, such as send a file of its own.
var proxyHeaders = []string{"x-accel-", "x-archive-", "x-forwarded-", "x-lighttpd-", "x-original-", "x-real-ip", "x-reproxy-", "x-rewrite-", "x-sendfile"}

// responseHeader reports whether an app may set a header of its responses.
func responseHeader(name string) bool {
	name = strings.ToLower(name)
	if !strings.HasPrefix(name, "x-") {
		return responseHeaders[name]
	}
	return !slices.ContainsFunc(proxyHeaders, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// HeaderAllowed reports whether a script may set a header: not what frames the message,
// and nothing that could begin another header.
func HeaderAllowed(name, value string) bool {
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
