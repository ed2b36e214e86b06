package picloud

import "strings"

// DefaultApp is the app that exists from the first start and cannot be deleted.
const DefaultApp = "default"

// Limits of names, in bytes.
const (
	MaxAppName   = 63
	MaxTopicName = 128
)

// CheckAppName returns nil when name is a valid app name (a lower-case slug,
// ^[a-z][a-z0-9-]{0,62}$), otherwise an ErrAppNameInvalid that says why.
func CheckAppName(name string) error {
	const rule = "use 1 to 63 of a-z, 0-9 and '-', beginning with a letter"
	switch {
	case name == "":
		return ErrAppNameInvalid.Detailf("the name is empty: %s", rule)
	case len(name) > MaxAppName:
		return ErrAppNameInvalid.Detailf("the name has %d bytes: %s", len(name), rule)
	case name[0] < 'a' || name[0] > 'z':
		return ErrAppNameInvalid.Detailf("the name does not begin with a letter a-z: %s", rule)
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return ErrAppNameInvalid.Detailf("byte %d is not allowed: %s", i+1, rule)
		}
	}
	return nil
}

// CheckTopicName returns nil when name is a valid topic name of a user, that is
// 1 to 128 bytes of A–Z a–z 0–9 . _ / -. Otherwise it returns an
// ErrTopicNameInvalid that says why, or ErrTopicReserved for a name that
// belongs to the system.
func CheckTopicName(name string) error {
	if IsSystemTopic(name) {
		if err := checkTopicBytes(name[1:]); err != nil {
			return err
		}
		return ErrTopicReserved.Detailf("choose a name that does not begin with '$'")
	}
	return checkTopicBytes(name)
}

// CheckAnyTopicName is CheckTopicName for readers: it accepts the system's
// names as well.
func CheckAnyTopicName(name string) error {
	return checkTopicBytes(strings.TrimPrefix(name, "$"))
}

// IsSystemTopic reports whether name belongs to the system ($board/health).
func IsSystemTopic(name string) bool { return strings.HasPrefix(name, "$") }

func checkTopicBytes(name string) error {
	const rule = "use 1 to 128 of A-Z a-z 0-9 . _ / -"
	switch {
	case name == "":
		return ErrTopicNameInvalid.Detailf("the name is empty: %s", rule)
	case len(name) > MaxTopicName:
		return ErrTopicNameInvalid.Detailf("the name has %d bytes: %s", len(name), rule)
	case strings.Contains(name, "*"):
		return ErrTopicNameInvalid.Detailf("'*' is reserved for pattern subscriptions: %s", rule)
	}
	for i := range len(name) {
		if !topicByte(name[i]) {
			return ErrTopicNameInvalid.Detailf("byte %d is not allowed: %s", i+1, rule)
		}
	}
	return nil
}

func topicByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	case c == '.', c == '_', c == '/', c == '-':
		return true
	}
	return false
}
