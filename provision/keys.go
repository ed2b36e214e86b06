package provision

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/picloud/picloud"
)

// Key is something that app.toml can say.
type Key struct {
	Path     string // with dots; * stands for a name, as in topics.*.external
	Type     Type
	Text     string
	Default  string // of a key that is left out; empty: see Text
	Required bool

	Values   []string // the allowed texts; nil: any
	Pattern  string   // of a text, of each text of a list, or of the names of tables; empty: any
	Longest  int      // of a text or a list; 0: any
	Min, Max float64  // of a number; Max 0: none

	Kinds []picloud.TriggerKind // of triggers that can say it; nil: all
}

// Type is the type of a key.
type Type string

// The types.
const (
	TypeText    Type = "text"
	TypeTexts   Type = "list of texts"
	TypeSwitch  Type = "true or false"
	TypeInteger Type = "whole number"
	TypeSeconds Type = "seconds"
	TypeTable   Type = "table"
	TypeNamed   Type = "tables by name"
)

// Name returns the last part of the path.
func (k *Key) Name() string { return k.Path[strings.LastIndexByte(k.Path, '.')+1:] }

// Table returns the path without its last part.
func (k *Key) Table() string { return strings.TrimSuffix(strings.TrimSuffix(k.Path, k.Name()), ".") }

// Form says which values there are, for people.
func (k *Key) Form() string {
	switch {
	case len(k.Values) > 0:
		return strings.Join(k.Values, ", ")
	case k.Max > 0:
		return fmt.Sprintf("%s, %v to %s", k.Type, k.Min, strconv.FormatFloat(k.Max, 'f', -1, 64))
	case k.Type == TypeInteger:
		return fmt.Sprintf("%s, at least %v", k.Type, k.Min)
	}
	return string(k.Type)
}

// Patterns of names; package check decides.
const (
	appPattern    = `^[a-z][a-z0-9-]{0,62}$`
	topicPattern  = `^\$?[A-Za-z0-9._/-]{1,128}$`
	handlePattern = `^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`
	fieldPattern  = `^[^.]+(\.[^.]+)*$`
	originPattern = `^(\*|https?://[^/?#@\s]+)$`
	pathPattern   = `^/[^?#%\s]*$`
)

var (
	triggerDefaults  = picloud.Trigger{Kind: picloud.TriggerCron}.WithDefaults()
	endpointDefaults = picloud.Endpoint{}.WithDefaults()
)

// Keys is the one table of what app.toml can say: docs/apps.md and the schema come from it,
// and a test holds it against the types that the file is read into.
var Keys = []Key{
	{Path: "name", Type: TypeText, Pattern: appPattern, Text: "Name of the app: 1 to 63 of a-z, 0-9 and -, beginning with a letter. Default: the name of the folder."},
	{Path: "description", Type: TypeText, Longest: picloud.MaxDescription, Text: "What the app is for, for people."},
	{Path: "allowed_origins", Type: TypeTexts, Pattern: originPattern, Longest: picloud.MaxOrigins, Text: "Origins of web pages whose scripts may read the answers for this app (CORS), such as https://panel.example; * for all. Left out: unchanged."},
	{Path: "prune", Type: TypeSwitch, Default: "false", Text: "Whether scripts, triggers and endpoints of the app that the folder does not have are deleted. Topics, collections and data never are."},
	{Path: "topics", Type: TypeNamed, Pattern: topicPattern, Text: "Topics to register. A topic of this name that is there keeps what its table does not say."},
	{Path: "collections", Type: TypeNamed, Pattern: handlePattern, Text: "Collections of documents to declare."},
	{Path: "triggers", Type: TypeNamed, Pattern: handlePattern, Text: "Triggers, which make scripts run."},
	{Path: "endpoints", Type: TypeNamed, Pattern: handlePattern, Text: "Endpoints, at which scripts answer HTTP requests below /apps/NAME."},

	{Path: "topics.*.description", Type: TypeText, Longest: picloud.MaxDescription, Text: "What the events tell, for people."},
	{Path: "topics.*.external", Type: TypeSwitch, Default: "false", Text: "Whether subscribers without an API key can be let in."},
	{Path: "topics.*.auth_mode", Type: TypeText, Values: []string{string(picloud.AuthToken), string(picloud.AuthPublic)}, Default: string(picloud.AuthToken), Text: "What they have to show: a subscriber token, or nothing."},
	{Path: "topics.*.durability", Type: TypeText, Values: []string{string(picloud.DurabilitySync), string(picloud.DurabilityTelemetry)}, Default: string(picloud.DurabilitySync), Text: "sync: an event is on the card before it is acknowledged; telemetry: within a second after it, which spares the card."},
	{Path: "topics.*.retention", Type: TypeTable, Text: "How much history is kept; what is taken together is replaced together."},
	{Path: "topics.*.retention.max_events", Type: TypeInteger, Default: "0", Text: "Newest events that are kept. 0: the node's default."},
	{Path: "topics.*.retention.max_age_sec", Type: TypeInteger, Default: "0", Text: "Age in seconds up to which events are kept. 0: the node's default."},
	{Path: "topics.*.retention.max_bytes", Type: TypeInteger, Default: "0", Text: "Bytes of data that are kept. 0: the node's default."},

	{Path: "collections.*.indexes", Type: TypeTexts, Pattern: fieldPattern, Longest: picloud.MaxIndexes, Text: "Fields that find looks documents up by; a field of an object within is owner.name."},

	{Path: "triggers.*.kind", Type: TypeText, Required: true, Values: kinds(), Text: "What it reacts to."},
	{Path: "triggers.*.script", Type: TypeText, Required: true, Pattern: handlePattern, Text: "Script that runs: the name of its file without .js."},
	{Path: "triggers.*.export", Type: TypeText, Default: "default", Longest: picloud.MaxKey, Text: "Function of the script that is called."},
	{Path: "triggers.*.enabled", Type: TypeSwitch, Text: "Whether it reacts. Left out: unchanged, and true for a new trigger."},
	{Path: "triggers.*.topic", Type: TypeText, Pattern: topicPattern, Kinds: []picloud.TriggerKind{picloud.TriggerPubSub}, Text: "Topic whose events it reacts to, such as door or $board/power."},
	{Path: "triggers.*.prefix", Type: TypeText, Longest: picloud.MaxKey, Kinds: []picloud.TriggerKind{picloud.TriggerPubSub, picloud.TriggerKV, picloud.TriggerFiles}, Text: "What the topic, the key or the path begins with. Left out: any. Of pubsub either topic or prefix."},
	{Path: "triggers.*.collection", Type: TypeText, Longest: picloud.MaxKey, Kinds: []picloud.TriggerKind{picloud.TriggerDocs}, Text: "Collection whose documents it reacts to. Left out: any."},
	{Path: "triggers.*.schedule", Type: TypeText, Longest: picloud.MaxKey, Kinds: []picloud.TriggerKind{picloud.TriggerCron}, Text: "Times: five fields such as 0 8 * * mon-fri, or @hourly, @daily, @weekly, @monthly, @every 90s. Every cron trigger has one."},
	{Path: "triggers.*.time_zone", Type: TypeText, Longest: picloud.MaxKey, Kinds: []picloud.TriggerKind{picloud.TriggerCron}, Default: "UTC", Text: "Time zone of the schedule, such as Europe/Berlin."},
	{Path: "triggers.*.catch_up", Type: TypeText, Kinds: []picloud.TriggerKind{picloud.TriggerCron}, Values: []string{string(picloud.CatchUpOne), string(picloud.CatchUpNone)}, Default: string(triggerDefaults.CatchUp), Text: "What follows when times were missed because the node was off: one run for all of them, or none."},
	{Path: "triggers.*.source", Type: TypeText, Longest: picloud.MaxKey, Kinds: []picloud.TriggerKind{picloud.TriggerDeadLetter}, Text: "Trigger whose dead letters it reacts to. Left out: any."},
	{Path: "triggers.*.retry", Type: TypeTable, Text: "How a failed delivery is tried again."},
	{Path: "triggers.*.retry.attempts", Type: TypeInteger, Min: 1, Max: picloud.MaxAttempts, Default: strconv.Itoa(triggerDefaults.Retry.Attempts), Text: "Attempts in all; after the last one it becomes a dead letter."},
	{Path: "triggers.*.retry.first_sec", Type: TypeSeconds, Min: 0.1, Max: 86400, Default: fmt.Sprint(triggerDefaults.Retry.First.Seconds()), Text: "Pause after the first failure. Each pause is twice the one before it, and jittered."},
	{Path: "triggers.*.retry.max_sec", Type: TypeSeconds, Min: 0.1, Max: 86400, Default: fmt.Sprint(triggerDefaults.Retry.Max.Seconds()), Text: "Longest pause."},
	{Path: "triggers.*.timeout_sec", Type: TypeSeconds, Min: 0.1, Max: picloud.MaxTimeout.Seconds(), Default: fmt.Sprint(triggerDefaults.Timeout.Seconds()), Text: "Longest run, by the clock and with all waiting."},
	{Path: "triggers.*.concurrency", Type: TypeInteger, Min: 1, Max: picloud.MaxConcurrency, Default: strconv.Itoa(triggerDefaults.Concurrency), Text: "Runs at once."},
	{Path: "triggers.*.ordered", Type: TypeSwitch, Default: "false", Text: "Whether what is about one topic, key, document or path runs strictly one after another."},

	{Path: "endpoints.*.method", Type: TypeText, Values: []string{"GET", "POST", "PUT", "PATCH", "DELETE", "*"}, Default: endpointDefaults.Method, Text: "Method of the requests; * for any."},
	{Path: "endpoints.*.path", Type: TypeText, Required: true, Pattern: pathPattern, Longest: picloud.MaxEndpointPath, Text: "Path below /apps/NAME, such as /orders/{id}, or /static/{rest...} for all that follows."},
	{Path: "endpoints.*.script", Type: TypeText, Required: true, Pattern: handlePattern, Text: "Script that answers: the name of its file without .js."},
	{Path: "endpoints.*.export", Type: TypeText, Default: "default", Longest: picloud.MaxKey, Text: "Function of the script that is called."},
	{Path: "endpoints.*.auth", Type: TypeText, Values: []string{string(picloud.EndpointKey), string(picloud.EndpointPublic)}, Default: string(endpointDefaults.Auth), Text: "Who may ask: callers with an API key that has app:invoke, or anybody."},
	{Path: "endpoints.*.timeout_sec", Type: TypeSeconds, Min: 0.1, Max: picloud.MaxEndpointTimeout.Seconds(), Default: fmt.Sprint(endpointDefaults.Timeout.Seconds()), Text: "Longest run, by the clock and with all waiting."},
}

// kinds lists the kinds of triggers.
func kinds() []string {
	var list []string
	for _, k := range triggerKinds {
		list = append(list, string(k))
	}
	return list
}

var triggerKinds = []picloud.TriggerKind{
	picloud.TriggerPubSub, picloud.TriggerKV, picloud.TriggerDocs, picloud.TriggerFiles, picloud.TriggerCron, picloud.TriggerDeadLetter,
}
