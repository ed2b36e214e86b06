package check

import (
	"bytes"
	"slices"
	"strings"

	"github.com/picloud/picloud"
)

// Field returns nil for the name of a field of documents: parts joined by dots.
func Field(name string) error {
	if name == "" || len(name) > picloud.MaxField || slices.Contains(strings.Split(name, "."), "") || strings.ContainsRune(name, 0) {
		return picloud.ErrQueryInvalid.Detailf("%q is not the name of a field: use 1 to %d bytes, parts joined by dots", name, picloud.MaxField)
	}
	return nil
}

// Document returns a document in the form that is kept: compact JSON.
func Document(body []byte) ([]byte, error) {
	if len(body) > picloud.MaxValue {
		return nil, picloud.ErrDocumentTooLarge.Detailf("it has %d bytes, the limit is %d: keep large things as files", len(body), picloud.MaxValue)
	}
	var b bytes.Buffer
	if err := CompactJSON(&b, body); err != nil {
		return nil, err
	}
	if b.Bytes()[0] != '{' {
		return nil, picloud.ErrDocumentInvalid.Detailf("send a JSON object")
	}
	return b.Bytes(), nil
}
