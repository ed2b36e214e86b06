package check

import (
	"strings"

	"github.com/picloud/picloud"
)

// AppName returns nil when name is a valid app name (a lower-case slug,
// ^[a-z][a-z0-9-]{0,62}$), otherwise an ErrAppNameInvalid that says why.
func AppName(name string) error {
	const rule = "use 1 to 63 of a-z, 0-9 and '-', beginning with a letter"
	switch {
	case name == "":
		return picloud.ErrAppNameInvalid.Detailf("the name is empty: %s", rule)
	case len(name) > picloud.MaxAppName:
		return picloud.ErrAppNameInvalid.Detailf("the name has %d bytes: %s", len(name), rule)
	case name[0] < 'a' || name[0] > 'z':
		return picloud.ErrAppNameInvalid.Detailf("the name does not begin with a letter a-z: %s", rule)
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return picloud.ErrAppNameInvalid.Detailf("byte %d is not allowed: %s", i+1, rule)
		}
	}
	return nil
}

// TopicName returns nil when name is a valid topic name of a user, that is
// 1 to 128 bytes of A–Z a–z 0–9 . _ / -. Otherwise it returns an
// ErrTopicNameInvalid that says why, or ErrTopicReserved for a name that
// belongs to the system.
func TopicName(name string) error {
	if picloud.IsSystemTopic(name) {
		if err := topicBytes(name[1:]); err != nil {
			return err
		}
		return picloud.ErrTopicReserved.Detailf("choose a name that does not begin with '$'")
	}
	return topicBytes(name)
}

// AnyTopicName is TopicName for readers: it accepts the system's
// names as well.
func AnyTopicName(name string) error {
	return topicBytes(strings.TrimPrefix(name, "$"))
}

func topicBytes(name string) error {
	const rule = "use 1 to 128 of A-Z a-z 0-9 . _ / -"
	switch {
	case name == "":
		return picloud.ErrTopicNameInvalid.Detailf("the name is empty: %s", rule)
	case len(name) > picloud.MaxTopicName:
		return picloud.ErrTopicNameInvalid.Detailf("the name has %d bytes: %s", len(name), rule)
	case strings.Contains(name, "*"):
		return picloud.ErrTopicNameInvalid.Detailf("'*' is reserved for pattern subscriptions: %s", rule)
	}
	for i := range len(name) {
		if !topicByte(name[i]) {
			return picloud.ErrTopicNameInvalid.Detailf("byte %d is not allowed: %s", i+1, rule)
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

// Handle returns nil when name is fit to name a script, a trigger, a secret
// or another thing of an app that people write into files and addresses: 1 to 64
// bytes of A–Z a–z 0–9 . _ -, beginning with a letter, a digit or _. What says
// which kind of thing it is.
func Handle(what, name string) error {
	ok := name != "" && len(name) <= picloud.MaxScriptName && name[0] != '.' && name[0] != '-'
	for i := 0; ok && i < len(name); i++ {
		ok = topicByte(name[i]) && name[i] != '/'
	}
	if !ok {
		return picloud.ErrNameInvalid.Detailf("a %s cannot be called %q: use 1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter, a digit or _", what, name)
	}
	return nil
}
