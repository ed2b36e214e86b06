package check

import (
	"slices"
	"strings"
	"time"

	"github.com/picloud/picloud"
)

// Trigger returns the first fault of the settings of a trigger. The schedule is not
// read; package dispatch does that.
func Trigger(t picloud.Trigger) error {
	if err := Handle("trigger", t.Name); err != nil {
		return err
	}
	if err := Handle("script", t.Script); err != nil {
		return err
	}
	invalid := func(format string, args ...any) error { return picloud.ErrTriggerInvalid.Detailf(format, args...) }
	for field, value := range map[string]string{
		"prefix": t.Prefix, "collection": t.Collection, "schedule": t.Schedule, "time_zone": t.TimeZone, "source": t.Source, "export": t.Export,
	} {
		if !text(value, picloud.MaxKey) {
			return invalid("%s: use at most %d bytes of UTF-8 without NUL", field, picloud.MaxKey)
		}
	}
	if err := checkMatch(&t); err != nil {
		return err
	}
	switch r := t.Retry; {
	case r.Attempts < 1 || r.Attempts > picloud.MaxAttempts:
		return invalid("retry.attempts: use 1 to %d", picloud.MaxAttempts)
	case r.First < 100*time.Millisecond || r.First > 24*time.Hour || r.Max < r.First || r.Max > 24*time.Hour:
		return invalid("retry: use pauses from 0.1 seconds to a day, the longest not shorter than the first")
	case t.Timeout < 100*time.Millisecond || t.Timeout > picloud.MaxTimeout:
		return invalid("timeout: use 0.1 to %d seconds", picloud.MaxTimeout/time.Second)
	case t.Concurrency < 1 || t.Concurrency > picloud.MaxConcurrency:
		return invalid("concurrency: use 1 to %d", picloud.MaxConcurrency)
	case t.CatchUp != "" && t.CatchUp != picloud.CatchUpOne && t.CatchUp != picloud.CatchUpNone:
		return invalid("catch_up: use %q or %q", picloud.CatchUpOne, picloud.CatchUpNone)
	}
	return nil
}

// matchFields are the fields in which a trigger of each kind may say what it matches.
var matchFields = map[picloud.TriggerKind][]string{
	picloud.TriggerPubSub: {"topic", "prefix"}, picloud.TriggerKV: {"prefix"}, picloud.TriggerDocs: {"collection"}, picloud.TriggerFiles: {"prefix"},
	picloud.TriggerCron: {"schedule", "time_zone", "catch_up"}, picloud.TriggerDeadLetter: {"source"},
}

func checkMatch(t *picloud.Trigger) error {
	allowed, ok := matchFields[t.Kind]
	if !ok {
		return picloud.ErrTriggerInvalid.Detailf("kind: use pubsub, kv, docs, files, cron or dead_letter")
	}
	for field, value := range map[string]string{
		"topic": t.Topic, "prefix": t.Prefix, "collection": t.Collection, "schedule": t.Schedule, "time_zone": t.TimeZone, "catch_up": string(t.CatchUp), "source": t.Source,
	} {
		if value != "" && !slices.Contains(allowed, field) {
			return picloud.ErrTriggerInvalid.Detailf("%s: a trigger of kind %s has %s", field, t.Kind, strings.Join(allowed, ", "))
		}
	}
	switch {
	case t.Kind == picloud.TriggerPubSub && t.Topic != "" && t.Prefix != "":
		return picloud.ErrTriggerInvalid.Detailf("topic and prefix exclude each other")
	case picloud.IsStateTopic(t.Topic):
		return picloud.ErrTriggerInvalid.Detailf("topic: %s is a state, which is live only and triggers nothing", t.Topic)
	case t.Topic != "":
		return AnyTopicName(t.Topic)
	case t.Kind == picloud.TriggerCron && t.Schedule == "":
		return picloud.ErrTriggerInvalid.Detailf("schedule: give five fields, such as \"0 8 * * mon-fri\", or @hourly, @daily, @weekly, @monthly")
	case t.Source == t.Name && t.Kind == picloud.TriggerDeadLetter:
		return picloud.ErrTriggerInvalid.Detailf("source: what a dead_letter trigger fails at never becomes a dead letter")
	}
	return nil
}
