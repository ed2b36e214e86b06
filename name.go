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

// Topics of the node itself. They belong to DefaultApp.
const (
	TopicNodeSync   = "$node/sync"   // an event when the copy in Postgres comes, goes or leaves something behind
	TopicNodeDamage = "$node/damage" // an event for each incident
	TopicNodeStats  = "$node/stats"  // a state: the node's figures

	TopicBoardHealth = "$board/health" // a state: the health of the board
	TopicBoardPins   = "$board/pins"   // a state: the pins of the board's header
	TopicBoardPower  = "$board/power"  // an event when undervoltage, throttling or heat begins or ends
)

// IsStateTopic reports whether the topic is a state: live only, in no journal, its
// newest value in memory.
func IsStateTopic(name string) bool {
	return name == TopicNodeStats || name == TopicBoardHealth || name == TopicBoardPins
}

// IsNodeTopic reports whether the node publishes to the topic.
func IsNodeTopic(name string) bool {
	return name == TopicNodeSync || name == TopicNodeDamage || name == TopicBoardPower || IsStateTopic(name)
}
