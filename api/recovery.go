package api

import (
	"encoding/base32"
	"errors"
	"strings"
)

// RecoveryKey restores the node from Postgres when its card has died.
type RecoveryKey struct {
	Text string `json:"recovery_key"`
}

// A recovery key is written so that a person can copy it from paper: groups of
// four letters and digits, in which case and dashes do not count.
const recoveryPrefix = "pcr"

var recoveryText = base32.StdEncoding.WithPadding(base32.NoPadding)

// FormatRecoveryKey returns the text of a recovery key.
func FormatRecoveryKey(key []byte) string {
	text := strings.ToLower(recoveryText.EncodeToString(key))
	var out strings.Builder
	out.WriteString(recoveryPrefix)
	for len(text) > 0 {
		n := min(4, len(text))
		out.WriteString("-" + text[:n])
		text = text[n:]
	}
	return out.String()
}

// ParseRecoveryKey reads the text of a recovery key.
func ParseRecoveryKey(text string) ([]byte, error) {
	body, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(text)), recoveryPrefix)
	key, err := recoveryText.DecodeString(strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(body)))
	if !ok || err != nil || len(key) == 0 {
		return nil, errors.New("this is no recovery key: it begins with pcr- and has thirteen groups of four letters and digits")
	}
	return key, nil
}
