package httpapi

import (
	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/board"
)

// table is the whole HTTP surface.
func (s *Server) table() []route {
	const (
		app   = "/v1/apps/{app}"
		topic = app + "/topics/{topic}"
		key   = app + "/kv/{key}"

		script  = app + "/scripts/{script}"
		trigger = app + "/triggers/{trigger}"

		endpoint   = app + "/endpoints/{endpoint}"
		collection = app + "/docs/{collection}"
		document   = collection + "/documents/{id}"
		file       = app + "/files/{path...}"
		pin        = app + "/pins/{pin}"
	)
	return []route{
		{method: "GET", pattern: "/v1/apps", handler: s.listApps, docs: docs{summary: "List the apps the caller may see", answer: api.Apps{}}},
		{method: "POST", pattern: "/v1/apps", needs: picloud.InstanceManage, handler: s.createApp, docs: docs{summary: "Create an app", body: api.NewApp{}, status: 201, answer: api.App{}}},
		{method: "GET", pattern: app, needs: picloud.AppRead, handler: s.showApp, docs: docs{summary: "Show an app", answer: api.App{}}},
		{method: "PATCH", pattern: app, needs: picloud.AppManage, handler: s.updateApp, docs: docs{summary: "Change an app", body: api.AppPatch{}, answer: api.App{}}},
		{method: "DELETE", pattern: app, needs: picloud.InstanceManage, handler: s.deleteApp, docs: docs{summary: "Delete an app with all it has", status: 204}},

		{method: "POST", pattern: "/v1/apply", needs: picloud.InstanceManage, handler: s.applySpec, docs: docs{summary: "Make an app what the body says, all of it checked before", body: api.Spec{}, answer: api.Applied{}, query: []queryParam{{"dry_run", "true: only say what would change"}}}},

		{method: "GET", pattern: app + "/topics", needs: picloud.AppTopicRead, page: true, handler: s.listTopics, docs: docs{summary: "List the registered topics", answer: api.Topics{}}},
		{method: "GET", pattern: app + "/public-topics", open: true, page: true, handler: s.listPublicTopics, docs: docs{summary: "List the topics that anybody may subscribe to; none for an app that does not exist", answer: api.PublicTopics{}}},
		{method: "POST", pattern: app + "/topics", needs: picloud.AppTopicManage, handler: s.createTopic, docs: docs{summary: "Register a topic", body: api.NewTopic{}, status: 201, answer: api.Topic{}}},
		{method: "GET", pattern: topic, needs: picloud.AppTopicRead, handler: s.showTopic, docs: docs{summary: "Show a topic", answer: api.Topic{}}},
		{method: "PATCH", pattern: topic, needs: picloud.AppTopicManage, handler: s.updateTopic, docs: docs{summary: "Change a topic", body: api.TopicPatch{}, answer: api.Topic{}}},
		{method: "DELETE", pattern: topic, needs: picloud.AppTopicManage, handler: s.deleteTopic, docs: docs{summary: "Delete a topic and hide its history", status: 204}},
		{method: "PATCH", pattern: topic + "/external", needs: picloud.AppTopicManage, handler: s.setExternal, docs: docs{summary: "Make a topic reachable from outside, or not", body: api.ExternalPatch{}, answer: api.Topic{}}},

		{method: "POST", pattern: topic + "/events", needs: picloud.AppPublish, handler: s.publishOne, docs: docs{summary: "Publish one event; the body is its data", body: anyJSON{}, status: 201, answer: api.Published{}}},
		{method: "POST", pattern: app + "/events", needs: picloud.AppPublish, handler: s.publishMany, docs: docs{summary: "Publish up to 1000 events, all or none", body: []api.Draft{}, status: 201, answer: []api.Published{}}},
		{method: "GET", pattern: topic + "/events", page: true, handler: s.topicEvents, docs: docs{summary: "Subscribe to a topic (text/event-stream) or read its history (application/json)", answer: api.History{}, stream: true, query: historyQuery}},
		{method: "GET", pattern: app + "/events", page: true, handler: s.appEvents, docs: docs{summary: "Subscribe to up to 64 topics (text/event-stream) or read their history (application/json)", answer: api.History{}, stream: true, query: append([]queryParam{{"topic", "A topic; repeat it for more"}}, historyQuery...)}},
		{method: "GET", pattern: app + "/events/{id}", needs: picloud.AppSubscribe, page: true, handler: s.showEvent, docs: docs{summary: "Show an event and how durable it is by now", answer: api.Event{}}},

		{method: "POST", pattern: app + "/subscriber-tokens", needs: picloud.AppTokenMint, handler: s.mintToken, docs: docs{summary: "Issue a subscriber token", body: api.NewToken{}, status: 201, answer: api.Token{}}},
		{method: "GET", pattern: app + "/signing-keys", needs: picloud.AppKeyManage, handler: s.listSigningKeys, docs: docs{summary: "List the signing keys; never their bytes", answer: api.SigningKeys{}}},
		{method: "POST", pattern: app + "/signing-keys", needs: picloud.AppKeyManage, handler: s.ensureSigningKey, docs: docs{summary: "Make the signing key if there is none yet", status: 201, answer: api.SigningKey{}}},
		{method: "POST", pattern: app + "/signing-keys/rotate", needs: picloud.AppKeyManage, handler: s.rotateSigningKey, docs: docs{summary: "Make a new signing key; the old one stays valid for the overlap", body: api.Rotation{}, status: 201, answer: api.SigningKey{}}},

		{method: "GET", pattern: app + "/kv", needs: picloud.AppDataRead, page: true, handler: s.listEntries, docs: docs{summary: "List keys by prefix, in order", answer: api.Entries{}, query: listQuery}},
		{method: "GET", pattern: key, needs: picloud.AppDataRead, page: true, handler: s.showEntry, docs: docs{summary: "Read the value of a key; its version is the ETag", answer: anyJSON{}, binary: binaryType}},
		{method: "PUT", pattern: key, needs: picloud.AppDataWrite, handler: s.setEntry, docs: docs{summary: "Set a key to the body: JSON, or bytes as application/octet-stream; If-Match and If-None-Match: * compare and set", body: anyJSON{}, answer: api.Changed{}, query: []queryParam{{"ttl_sec", "Seconds after which the key ends; for ever if not given"}}}},
		{method: "DELETE", pattern: key, needs: picloud.AppDataWrite, handler: s.deleteEntry, docs: docs{summary: "Remove a key", status: 204}},
		{method: "POST", pattern: key + "/increment", needs: picloud.AppDataWrite, handler: s.incrementEntry, docs: docs{summary: "Add to the number that a key holds", body: api.Increment{}, answer: api.Entry{}}},

		{method: "GET", pattern: app + "/docs", needs: picloud.AppDataRead, page: true, handler: s.listCollections, docs: docs{summary: "List the collections", answer: api.Collections{}}},
		{method: "PUT", pattern: collection, needs: picloud.AppManage, handler: s.saveCollection, docs: docs{summary: "Declare a collection and its indexes; answers when they are built", body: api.CollectionSpec{}, answer: api.Collection{}}},
		{method: "DELETE", pattern: collection, needs: picloud.AppManage, handler: s.deleteCollection, docs: docs{summary: "Delete a collection with its documents", status: 204}},
		{method: "POST", pattern: collection + "/find", needs: picloud.AppDataRead, page: true, handler: s.findDocuments, docs: docs{summary: "Find documents by the values of their fields", body: api.Find{}, answer: api.Found{}}},
		{method: "GET", pattern: collection + "/documents", needs: picloud.AppDataRead, page: true, handler: s.listDocuments, docs: docs{summary: "List documents by id, in order", answer: api.Documents{}, query: listQuery[1:]}},
		{method: "POST", pattern: collection + "/documents", needs: picloud.AppDataWrite, handler: s.createDocument, docs: docs{summary: "Keep the body, a JSON object, as a new document", body: anyJSON{}, status: 201, answer: api.Document{}}},
		{method: "GET", pattern: document, needs: picloud.AppDataRead, page: true, handler: s.showDocument, docs: docs{summary: "Read a document; its version is the ETag", answer: api.Document{}}},
		{method: "PUT", pattern: document, needs: picloud.AppDataWrite, handler: s.putDocument, docs: docs{summary: "Set a document to the body; If-Match and If-None-Match: * compare and set", body: anyJSON{}, answer: api.Document{}}},
		{method: "PATCH", pattern: document, needs: picloud.AppDataWrite, handler: s.mergeDocument, docs: docs{summary: "Merge the body into a document (RFC 7396)", body: anyJSON{}, answer: api.Document{}}},
		{method: "DELETE", pattern: document, needs: picloud.AppDataWrite, handler: s.deleteDocument, docs: docs{summary: "Delete a document", status: 204}},

		{method: "GET", pattern: app + "/files", needs: picloud.AppDataRead, page: true, handler: s.listFiles, docs: docs{summary: "List files by the beginning of their paths, in order", answer: api.Files{}, query: listQuery}},
		{method: "GET", pattern: file, needs: picloud.AppDataRead, handler: s.showFile, docs: docs{summary: "Read a file, or a part of it (Range); its version is the ETag, Repr-Digest its SHA-256", binary: "*/*"}},
		{method: "PUT", pattern: file, needs: picloud.AppDataWrite, upload: true, handler: s.putFile, docs: docs{summary: "Write a file: the body, of any type and any size up to the limit; Repr-Digest is checked, If-Match and If-None-Match: * compare and set", answer: api.File{}}},
		{method: "DELETE", pattern: file, needs: picloud.AppDataWrite, handler: s.deleteFile, docs: docs{summary: "Delete a file", status: 204}},

		{method: "GET", pattern: app + "/pins", needs: picloud.AppRead, handler: s.listPins, docs: docs{summary: "List the pins of the app with their levels", answer: api.Pins{}}},
		{method: "GET", pattern: pin, needs: picloud.AppRead, handler: s.showPin, docs: docs{summary: "Read a pin; on is null while its level is unknown", answer: api.Pin{}}},
		{method: "PUT", pattern: pin, needs: picloud.AppPinWrite, handler: s.setPin, docs: docs{summary: "Set an output, or make a pulse of for_ms milliseconds that ends by itself", body: api.PinChange{}, answer: api.Pin{}}},
		{method: "POST", pattern: pin + "/press", needs: picloud.InstanceManage, handler: s.pressPin, docs: docs{summary: "Press a simulated input, of a node with hw.driver = sim; answers when it is over", body: api.Press{}, status: 204}},
		{method: "GET", pattern: app + "/sensors", needs: picloud.AppRead, handler: s.listAppSensors, docs: docs{summary: "List the sensors of the app with their latest readings and their faults", answer: api.Sensors{}}},
		{method: "GET", pattern: app + "/sensors/{sensor}", needs: picloud.AppRead, handler: s.showSensor, docs: docs{summary: "Show a sensor with its latest reading; values are null until there is one, and fault says why it cannot be read", answer: api.Sensor{}}},

		{method: "GET", pattern: app + "/scripts", needs: picloud.AppScriptRead, page: true, handler: s.listScripts, docs: docs{summary: "List the scripts", answer: api.Scripts{}}},
		{method: "GET", pattern: script, needs: picloud.AppScriptRead, page: true, handler: s.showScript, docs: docs{summary: "Read the source of a script; its version is the ETag", binary: scriptType}},
		{method: "PUT", pattern: script, needs: picloud.AppScriptManage, handler: s.saveScript, docs: docs{summary: "Save the body as the newest version of a script (text/javascript)", answer: api.Script{}}},
		{method: "DELETE", pattern: script, needs: picloud.AppScriptManage, handler: s.deleteScript, docs: docs{summary: "Delete a script with all its versions", status: 204}},
		{method: "GET", pattern: script + "/versions", needs: picloud.AppScriptRead, handler: s.listScriptVersions, docs: docs{summary: "List the versions of a script that are kept", answer: api.Scripts{}}},
		{method: "GET", pattern: script + "/versions/{version}", needs: picloud.AppScriptRead, page: true, handler: s.showScriptVersion, docs: docs{summary: "Read the source of an older version", binary: scriptType}},
		{method: "POST", pattern: script + "/run", needs: picloud.AppInvoke, handler: s.runScript, docs: docs{summary: "Run a script once and answer how that went", body: api.NewRun{}, answer: api.RunResult{}}},
		{method: "GET", pattern: app + "/runs", needs: picloud.AppScriptRead, page: true, handler: s.listRuns, docs: docs{summary: "List the latest runs, newest first", answer: api.Runs{}, query: runsQuery}},
		{method: "GET", pattern: app + "/runs/{run}", needs: picloud.AppScriptRead, page: true, handler: s.showRun, docs: docs{summary: "Show a run", answer: api.Run{}}},

		{method: "GET", pattern: app + "/triggers", needs: picloud.AppScriptRead, page: true, handler: s.listTriggers, docs: docs{summary: "List the triggers and how their deliveries are doing", answer: api.Triggers{}}},
		{method: "GET", pattern: trigger, needs: picloud.AppScriptRead, handler: s.showTrigger, docs: docs{summary: "Show a trigger", answer: api.Trigger{}}},
		{method: "PUT", pattern: trigger, needs: picloud.AppScriptManage, handler: s.saveTrigger, docs: docs{summary: "Make or change a trigger", body: api.TriggerSpec{}, answer: api.Trigger{}}},
		{method: "DELETE", pattern: trigger, needs: picloud.AppScriptManage, handler: s.deleteTrigger, docs: docs{summary: "Delete a trigger with what it still owes", status: 204}},
		{method: "POST", pattern: trigger + "/backfill", needs: picloud.AppScriptManage, handler: s.backfillTrigger, docs: docs{summary: "Make a dead_letter trigger owe the dead letters that were there before it", answer: api.Counted{}}},
		{method: "GET", pattern: app + "/results/{result}", open: true, page: true, handler: s.showResult, docs: docs{summary: "What an endpoint answers to a request with Prefer: respond-async; 202 while there is no answer yet", answer: anyJSON{}, query: []queryParam{{"wait_sec", "Seconds to wait for the answer, 0 to 30"}}}},
		{method: "GET", pattern: app + "/secrets", needs: picloud.AppSecretManage, handler: s.listSecrets, docs: docs{summary: "List the names of the secrets", answer: api.Secrets{}}},
		{method: "PUT", pattern: app + "/secrets/{secret}", needs: picloud.AppSecretManage, handler: s.setSecret, docs: docs{summary: "Set a secret, which only scripts of the app can read", body: api.SecretValue{}, answer: api.Secret{}}},
		{method: "DELETE", pattern: app + "/secrets/{secret}", needs: picloud.AppSecretManage, handler: s.deleteSecret, docs: docs{summary: "Delete a secret", status: 204}},
		{method: "GET", pattern: app + "/endpoints", needs: picloud.AppScriptRead, page: true, handler: s.listEndpoints, docs: docs{summary: "List the endpoints", answer: api.Endpoints{}}},
		{method: "GET", pattern: endpoint, needs: picloud.AppScriptRead, handler: s.showEndpoint, docs: docs{summary: "Show an endpoint", answer: api.Endpoint{}}},
		{method: "PUT", pattern: endpoint, needs: picloud.AppScriptManage, handler: s.saveEndpoint, docs: docs{summary: "Let a script answer below /apps/{app}", body: api.EndpointSpec{}, answer: api.Endpoint{}}},
		{method: "DELETE", pattern: endpoint, needs: picloud.AppScriptManage, handler: s.deleteEndpoint, docs: docs{summary: "Delete an endpoint", status: 204}},
		{method: "GET", pattern: app + "/dead-letters", needs: picloud.AppScriptRead, page: true, handler: s.listLetters, docs: docs{summary: "List dead letters, oldest first", answer: api.DeadLetters{}, query: append([]queryParam{{"trigger", "Only of this trigger"}}, listQuery[1:]...)}},
		{method: "POST", pattern: app + "/dead-letters/redrive", needs: picloud.AppScriptManage, handler: s.redriveLetters, docs: docs{summary: "Owe dead letters again, as the deliveries they were", body: api.LetterSelection{}, answer: api.Counted{}}},
		{method: "POST", pattern: app + "/dead-letters/purge", needs: picloud.AppScriptManage, handler: s.purgeLetters, docs: docs{summary: "Remove dead letters for good", body: api.LetterSelection{}, answer: api.Counted{}}},
		{method: "GET", pattern: app + "/dead-letters/{letter}", needs: picloud.AppScriptRead, page: true, handler: s.showLetter, docs: docs{summary: "Show a dead letter", answer: api.DeadLetter{}}},

		{method: "GET", pattern: "/v1/keys", page: true, handler: s.listKeys, docs: docs{summary: "List the API keys within the caller's reach", answer: api.Keys{}}},
		{method: "POST", pattern: "/v1/keys", handler: s.createKey, docs: docs{summary: "Create an API key; its text is shown this once", body: api.NewKey{}, status: 201, answer: api.CreatedKey{}}},
		{method: "DELETE", pattern: "/v1/keys/{id}", handler: s.revokeKey, docs: docs{summary: "Revoke an API key; it takes effect at once", status: 204}},

		{method: "GET", pattern: "/v1/node", needs: picloud.InstanceRead, handler: s.showNode, docs: docs{summary: "Show the node", answer: api.Node{}}},
		{method: "GET", pattern: "/v1/node/board", needs: picloud.InstanceRead, handler: s.showBoard, docs: docs{summary: "Show the health of the board, conditions that last, and why something is unknown", answer: board.Report{}}},
		{method: "GET", pattern: "/v1/node/board/header", needs: picloud.InstanceRead, handler: s.showHeader, docs: docs{summary: "Show the pins of the board's header and what is on them", answer: board.Header{}}},
		{method: "GET", pattern: "/v1/node/board/sensors", needs: picloud.InstanceRead, handler: s.listSensors, docs: docs{summary: "List the sensors of the board with their latest readings and their faults", answer: api.Sensors{}}},
		{method: "GET", pattern: "/v1/node/board/scan", needs: picloud.InstanceManage, handler: s.scanBoard, docs: docs{summary: "Search the buses of the board for sensors; it asks each address of the I²C buses that nothing is known to use", answer: api.Scan{}}},
		{method: "GET", pattern: "/v1/incidents", needs: picloud.InstanceRead, handler: s.listIncidents, docs: docs{summary: "List losses and damage that the node has found, oldest first", answer: api.Incidents{}}},
		{method: "POST", pattern: "/v1/incidents/ack", needs: picloud.InstanceManage, handler: s.ackIncidents, docs: docs{summary: "Acknowledge incidents", body: api.IncidentSelection{}, answer: api.Counted{}}},
		{method: "GET", pattern: "/v1/verify", needs: picloud.InstanceRead, handler: s.showVerification, docs: docs{summary: "Show how far the look for damage is, or what the last one has found", answer: api.Verification{}}},
		{method: "POST", pattern: "/v1/verify", needs: picloud.InstanceManage, handler: s.startVerification, docs: docs{summary: "Read and check everything that the node keeps", status: 202, answer: api.Verification{}}},
		{method: "GET", pattern: "/v1/sync", needs: picloud.InstanceRead, handler: s.showSync, docs: docs{summary: "Show how the copy to Postgres is doing", answer: api.Sync{}}},
		{method: "POST", pattern: "/v1/sync/retry", needs: picloud.InstanceManage, handler: s.retrySync, docs: docs{summary: "Try to reach Postgres now", status: 204}},
		{method: "GET", pattern: "/v1/recovery-key", needs: picloud.InstanceManage, handler: s.showRecoveryKey, docs: docs{summary: "Show what restores the node from Postgres", answer: api.RecoveryKey{}}},
		{method: "GET", pattern: "/v1/backup", needs: picloud.InstanceManage, handler: s.backup, docs: docs{summary: "Download a consistent backup of the node", binary: "application/gzip"}},
		{method: "GET", pattern: "/v1/openapi.json", open: true, handler: s.showOpenAPI, docs: docs{summary: "This document", answer: anyJSON{}}},
		{method: "GET", pattern: "/healthz", open: true, handler: s.healthz, docs: docs{summary: "Whether the node is alive", binary: "text/plain"}},
		{method: "GET", pattern: "/readyz", open: true, handler: s.readyz, docs: docs{summary: "Whether the node serves", binary: "text/plain"}},
		{method: "GET", pattern: "/metrics", needs: picloud.InstanceRead, handler: s.showMetrics, docs: docs{summary: "Metrics in the text format of Prometheus", binary: "text/plain"}},
		{method: "GET", pattern: "/assets/client.js", open: true, handler: s.showClient, docs: docs{summary: "The JavaScript client, as a module that pages import", binary: "text/javascript"}},
		{method: "GET", pattern: "/", open: true, handler: s.showPage, docs: docs{summary: "The live page: the board, and the public topics of an app", binary: "text/html"}},
	}
}

var runsQuery = []queryParam{
	{"script", "Only of this script"},
	{"after", "Only runs after this one"},
	{"limit", "Runs at most, 1 to 1000, 20 if not given"},
	{"wait_sec", "Seconds to wait for a run when there is none, 0 to 30"},
}

var historyQuery = []queryParam{
	{"since", "Where to begin: an id, a time (RFC 3339), a duration such as 10m, all, or latest"},
	{"after", "History: events after this id"},
	{"limit", "History: events at most, 1 to 1000, 100 if not given"},
	{"last_event_id", "Stream: resume after this id; the header Last-Event-ID wins"},
	{"latest", "Stream: a topic whose newest event comes first, if it is not after the id to resume from; repeat it for more"},
	{"lossless", "Stream: 1 refills from the journal what a slow reader missed"},
	{"token", "Stream: a subscriber token, for who cannot set headers"},
}

var listQuery = []queryParam{
	{"prefix", "What the names begin with"},
	{"after", "Go on after this one"},
	{"limit", "At most, 1 to 1000, 100 if not given"},
}
