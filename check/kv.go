package check

import (
	"bytes"
	"time"
	"unicode/utf8"

	"github.com/picloud/picloud"
)

// Key returns nil when key is 1 to MaxKey bytes of UTF-8 without NUL,
// otherwise an ErrKVKeyInvalid that says why.
func Key(key string) error {
	const rule = "use 1 to 512 bytes of UTF-8 without NUL"
	switch {
	case key == "":
		return picloud.ErrKVKeyInvalid.Detailf("the key is empty: %s", rule)
	case len(key) > picloud.MaxKey:
		return picloud.ErrKVKeyInvalid.Detailf("the key has %d bytes: %s", len(key), rule)
	case !utf8.ValidString(key) || bytes.IndexByte([]byte(key), 0) >= 0:
		return picloud.ErrKVKeyInvalid.Detailf("%s", rule)
	}
	return nil
}

// Value returns a value in the form that is kept: compact JSON, or a copy of any
// bytes.
func Value(value []byte, binary bool) ([]byte, error) {
	if len(value) > picloud.MaxValue {
		return nil, picloud.ErrKVTooLarge.Detailf("it has %d bytes, the limit is %d: keep less under one key", len(value), picloud.MaxValue)
	}
	if binary {
		return append([]byte{}, value...), nil
	}
	var b bytes.Buffer
	b.Grow(len(value))
	if err := CompactJSON(&b, value); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// TTL returns nil for a time to live that can be kept; 0 means for ever.
func TTL(ttl time.Duration) error {
	if ttl < 0 || ttl > picloud.MaxTTL {
		return picloud.ErrTTLInvalid.Detailf("use 1 to %d seconds, or leave it out", int64(picloud.MaxTTL/time.Second))
	}
	return nil
}
