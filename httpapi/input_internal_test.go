package httpapi

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// FuzzInput: what a script gets of a body is a JSON value that says the same, and takes
// no more memory than was drawn for it.
func FuzzInput(f *testing.F) {
	f.Add("text/plain", []byte("a\x01\"\\\n\u2028\u2029 é"))
	f.Add("application/json", []byte(` {"a" : [1, "\u2028"] } `))
	f.Add("image/png", []byte{0, 255, 1})
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		e := encodingOf(kind, body)
		size := e.size(body)
		const before = `{"a":`
		b, err := e.appendTo(append(make([]byte, 0, size+len(before)), before...), body)
		if err != nil {
			return
		}
		value := b[len(before):]
		if string(b[:len(before)]) != before || len(value) > size {
			t.Fatalf("%d bytes, %d were drawn", len(value), size)
		}
		var got any
		if err := json.Unmarshal(value, &got); err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		if text, ok := got.(string); ok && kind != "application/json" && utf8.Valid(body) && !e.binary && text != string(body) && encodingOf("", body).size(body) == size {
			t.Errorf("%q became %q", body, text)
		}
	})
}
