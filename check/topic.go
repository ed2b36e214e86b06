package check

import "github.com/picloud/picloud"

// Topic returns the first fault of the settings of a topic.
func Topic(t picloud.Topic) error {
	if err := TopicName(t.Name); err != nil && (t.App != picloud.DefaultApp || !picloud.IsNodeTopic(t.Name)) {
		return err
	}
	if !text(t.Description, picloud.MaxDescription) {
		return picloud.ErrTopicInvalid.Detailf("description: use at most %d bytes of UTF-8 without NUL", picloud.MaxDescription)
	}
	switch t.AuthMode {
	case picloud.AuthPublic, picloud.AuthToken:
	default:
		return picloud.ErrTopicInvalid.Detailf("auth_mode: use \"public\" or \"token\"")
	}
	switch t.Durability {
	case picloud.DurabilitySync, picloud.DurabilityTelemetry:
	default:
		return picloud.ErrTopicInvalid.Detailf("durability: use \"sync\" or \"telemetry\"")
	}
	r := t.Retention
	if r.MaxEvents < 0 || r.MaxAge < 0 || r.MaxBytes < 0 {
		return picloud.ErrTopicInvalid.Detailf("retention: use positive limits, or 0 for the node's default")
	}
	return nil
}
