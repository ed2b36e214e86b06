package store

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Rows are CBOR (RFC 8949) in its core deterministic form, so that equal rows
// have equal bytes. Structs are maps by field name: fields may be added, never
// renamed or given another meaning. testdata/rows.golden pins that.
var (
	cborEnc = must(encOptions().EncMode())
	cborDec = must(cbor.DecOptions{MaxNestedLevels: 16}.DecMode())
)

func encOptions() cbor.EncOptions {
	o := cbor.CoreDetEncOptions()
	o.Time = cbor.TimeRFC3339Nano
	return o
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // options that are fixed at compile time
	}
	return v
}

// cborEncode encodes one of the row types, none of which can fail.
func cborEncode(v any) []byte {
	b, err := cborEnc.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return b
}

// decodeAs decodes a row of type T.
func decodeAs[T any](b []byte) (row T, err error) {
	err = cborDecode(b, &row)
	return row, err
}

func cborDecode(b []byte, v any) error {
	if err := cborDec.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode %T: %w", v, err)
	}
	return nil
}
