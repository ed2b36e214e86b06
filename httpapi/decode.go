package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"
)

// requireJSON refuses bodies that do not say they are JSON.
func requireJSON(ctx *fasthttp.RequestCtx) error {
	kind, _, err := mime.ParseMediaType(string(ctx.Request.Header.ContentType()))
	if err != nil || kind != "application/json" {
		return errType
	}
	return nil
}

// decode reads the body into v, strictly: one JSON value, no fields that v does
// not have. An absent body is an empty object when optional.
func (r *request) decode(v any, optional bool) error {
	body := r.PostBody()
	if optional && len(body) == 0 {
		return nil
	}
	if err := requireJSON(r.RequestCtx); err != nil {
		return err
	}
	if !utf8.Valid(body) {
		return errBody.Detailf("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return decodeError(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errBody.Detailf("there is something behind the JSON value")
	}
	return nil
}

func decodeError(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errBody.Detailf("the JSON ends too early")
	case errors.As(err, &syntax):
		return errBody.Detailf("not valid JSON at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		field := kind.Field
		if field == "" {
			field = "the body"
		}
		return errBody.Detailf("%s: a JSON %s does not fit, use %s", field, kind.Value, typeName(kind))
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return errBody.Detailf("the field %s is not known here; GET /v1/openapi.json has the names", name)
	}
	return errBody.Detailf("a value in it does not fit")
}

func typeName(e *json.UnmarshalTypeError) string {
	switch kind := e.Type.Kind().String(); {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "a whole number"
	case kind == "bool":
		return "true or false"
	case kind == "slice":
		return "an array"
	case kind == "struct", kind == "map":
		return "an object"
	default:
		return "a " + kind
	}
}

// reply answers with JSON.
func (r *request) reply(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	r.SetStatusCode(status)
	r.SetContentType("application/json")
	r.Response.SetBodyRaw(append(b, '\n'))
	return nil
}

// done answers that something was done and there is nothing to say.
func (r *request) done() error {
	r.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}
