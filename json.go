package picloud

import (
	"bytes"
	"encoding/json"
)

// EncodeJSON is json.Marshal without the escapes for HTML, which make a text up to six
// times as long as it is, and which was not asked for.
func EncodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
