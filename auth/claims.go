package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Faults of a token that have no error in package jwt.
var (
	errHeader     = errors.New("header not acceptable")
	errUnknownKey = errors.New("unknown signing key")
)

// claims are the claims of a subscriber token.
type claims struct {
	jwt.RegisteredClaims
	AppID  string   `json:"app_id"`
	Topics []string `json:"topics"`
}

// covers reports whether c names every one of topics.
func (c *claims) covers(topics []string) bool {
	return !slices.ContainsFunc(topics, func(t string) bool { return !slices.Contains(c.Topics, t) })
}

// UnmarshalJSON reads claims to the letter: names in exactly this case and
// once each, since two readers that choose differently among duplicates would
// disagree on what was signed. Claims it does not know are ignored.
func (c *claims) UnmarshalJSON(b []byte) error {
	members, err := readObject(b)
	if err != nil {
		return err
	}
	for name, raw := range members {
		switch name {
		case "app_id":
			err = readString(raw, &c.AppID)
		case "sub":
			err = readString(raw, &c.Subject)
		case "exp":
			c.ExpiresAt, err = readDate(raw)
		case "iat":
			c.IssuedAt, err = readDate(raw)
		case "nbf":
			c.NotBefore, err = readDate(raw)
		case "topics":
			var list []json.RawMessage
			if err = json.Unmarshal(raw, &list); err != nil {
				break
			}
			c.Topics = make([]string, len(list))
			for i := range list {
				err = errors.Join(err, readString(list[i], &c.Topics[i]))
			}
		}
		if err != nil {
			return fmt.Errorf("read claim %s: %w", name, err)
		}
	}
	return nil
}

// readObject returns the members of a JSON object and refuses duplicates.
func readObject(b []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	members := map[string]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		s, _ := name.(string) // a member name is a string, or Token fails
		if _, twice := members[s]; twice {
			return nil, errors.New("a name occurs twice")
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, err
		}
		members[s] = raw
	}
	_, err := d.Token()
	return members, err
}

// readString reads a JSON string; null is not one.
func readString(raw json.RawMessage, s *string) error {
	if len(raw) == 0 || raw[0] != '"' {
		return errors.New("not a string")
	}
	return json.Unmarshal(raw, s)
}

// readDate reads seconds since 1970; a fraction is cut off.
func readDate(raw json.RawMessage) (*jwt.NumericDate, error) {
	const year9999 = 253402300799
	var seconds float64
	if err := json.Unmarshal(raw, &seconds); err != nil {
		return nil, err
	}
	if seconds <= 0 || seconds > year9999 {
		return nil, errors.New("not a time between 1970 and 9999")
	}
	return jwt.NewNumericDate(time.Unix(int64(seconds), 0)), nil
}

// keyID returns the kid of a token whose header is acceptable: no name twice,
// and no extension that the signer requires to be understood.
func keyID(t *jwt.Token) (string, error) {
	segment, _, _ := strings.Cut(t.Raw, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		return "", errHeader
	}
	members, err := readObject(raw)
	if err != nil {
		return "", errHeader
	}
	var id string
	if _, critical := members["crit"]; critical || readString(members["kid"], &id) != nil || id == "" {
		return "", errHeader
	}
	return id, nil
}
