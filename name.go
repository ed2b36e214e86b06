package picloud

import "strings"

// DefaultApp is the app that exists from the first start and cannot be deleted.
const DefaultApp = "default"

// Limits of names, in bytes.
const (
	MaxAppName   = 63
	MaxTopicName = 128
)

// IsSystemTopic reports whether name belongs to the system ($board/health).
func IsSystemTopic(name string) bool { return strings.HasPrefix(name, "$") }
