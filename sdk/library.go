package sdk

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" // #nosec G505 -- what some signatures out there still are
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"time"
)

// What scripts get of a standard library, because their language or their cage
// lacks it.

// maxSleep is as long as a run may take at the most, by default.
const maxSleep = 30 * time.Second

func sleep(ctx context.Context, c *call) (any, error) {
	var ms float64
	if err := c.read(&ms); err != nil {
		return nil, err
	}
	if ms < 0 || ms > float64(maxSleep/time.Millisecond) {
		return nil, errArgument.Detailf("sleep 0 to %d milliseconds", maxSleep/time.Millisecond)
	}
	timer := time.NewTimer(time.Duration(ms * float64(time.Millisecond)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil, nil //nolint:nilnil // there is nothing to say
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

const maxRandom = 64 << 10

func random(_ context.Context, c *call) (any, error) {
	var n int
	if err := c.read(&n); err != nil {
		return nil, err
	}
	if n < 0 || n > maxRandom {
		return nil, errArgument.Detailf("ask for 0 to %d bytes", maxRandom)
	}
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b, nil
}

// uuid is a random one (RFC 9562, version 4).
func uuid(context.Context, *call) (any, error) {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

func digest(_ context.Context, c *call) (any, error) {
	var algorithm, encoding string
	var data material
	if err := c.read(&algorithm, &data.text, &data.binary, &encoding); err != nil {
		return nil, err
	}
	newHash, err := algorithmOf(algorithm)
	if err != nil {
		return nil, err
	}
	b, err := data.bytes()
	if err != nil {
		return nil, err
	}
	h := newHash()
	h.Write(b)
	return encode(h.Sum(nil), encoding)
}

func sign(_ context.Context, c *call) (any, error) {
	var algorithm, encoding string
	var key, data material
	if err := c.read(&algorithm, &key.text, &key.binary, &data.text, &data.binary, &encoding); err != nil {
		return nil, err
	}
	newHash, err := algorithmOf(algorithm)
	if err != nil {
		return nil, err
	}
	k, err := key.bytes()
	if err != nil {
		return nil, err
	}
	b, err := data.bytes()
	if err != nil {
		return nil, err
	}
	h := hmac.New(newHash, k)
	h.Write(b)
	return encode(h.Sum(nil), encoding)
}

// material is text, or bytes as base64.
type material struct {
	text   json.RawMessage
	binary bool
}

func (m *material) bytes() ([]byte, error) {
	if m.binary {
		return fromBase64(m.text)
	}
	var s string
	if err := json.Unmarshal(m.text, &s); err != nil {
		return nil, errArgument.Detailf("text or bytes are expected")
	}
	return []byte(s), nil
}

func algorithmOf(name string) (func() hash.Hash, error) {
	switch name {
	case "sha-256":
		return sha256.New, nil
	case "sha-512":
		return sha512.New, nil
	case "sha-1":
		return sha1.New, nil
	}
	return nil, errArgument.Detailf("the algorithm %q is not known: use sha-256, sha-512 or sha-1", name)
}

func encode(b []byte, encoding string) (string, error) {
	switch encoding {
	case "hex":
		return hex.EncodeToString(b), nil
	case "base64":
		return base64.StdEncoding.EncodeToString(b), nil
	}
	return "", errArgument.Detailf("the encoding %q is not known: use hex or base64", encoding)
}
