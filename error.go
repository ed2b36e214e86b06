package picloud

import (
	"errors"
	"fmt"
	"time"
)

// Code is the class of an Error. The HTTP edge turns it into a status; nothing
// else does.
type Code string

// The classes of errors that leave the process.
const (
	CodeInvalid         Code = "invalid"          // 400: the request cannot be understood
	CodeUnauthenticated Code = "unauthenticated"  // 401: the caller could not be authenticated
	CodeForbidden       Code = "forbidden"        // 403: known, but not allowed
	CodeNotFound        Code = "not-found"        // 404: not there, or not to be probed
	CodeConflict        Code = "conflict"         // 409: clashes with what is there
	CodeGone            Code = "gone"             // 410: was there, retention removed it
	CodePrecondition    Code = "precondition"     // 412: it is not as the caller expects
	CodeTooLarge        Code = "too-large"        // 413: over a size limit
	CodeUnsupportedType Code = "unsupported-type" // 415: content type not accepted here
	CodeUnprocessable   Code = "unprocessable"    // 422: understood, but a value is not acceptable
	CodeTooMany         Code = "too-many"         // 429: this caller is over a limit
	CodeInternal        Code = "internal"         // 500: our fault; the log has the cause
	CodeUnavailable     Code = "unavailable"      // 503: try again later
	CodeNoSpace         Code = "no-space"         // 507: the disk reserve is reached
)

// Error is an error that may leave the process: everything in it is public.
// Internal causes are logged, never put into one.
type Error struct {
	Code   Code
	Type   string // stable slug of this kind of problem, such as "topic-name-invalid"
	Title  string // one short sentence, the same at every occurrence
	Detail string // what is wrong this time, and what to do now
	Topic  string // the topic it is about, where a request names several; else empty

	// RetryAfter, when positive, tells the caller how long to wait.
	RetryAfter time.Duration
}

// Error returns title and detail.
func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Title
	}
	return e.Title + ": " + e.Detail
}

// Is reports whether target is an Error of the same type, so that errors.Is
// finds a sentinel however its detail was worded.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Type == e.Type
}

// Detailf returns a copy of e with its detail set.
func (e *Error) Detailf(format string, args ...any) *Error {
	c := *e
	c.Detail = fmt.Sprintf(format, args...)
	return &c
}

// About returns a copy of e with its Topic set.
func (e *Error) About(topic string) *Error {
	c := *e
	c.Topic = topic
	return &c
}

// After returns a copy of e with its RetryAfter set.
func (e *Error) After(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// AsError returns the public error in err's chain, or nil when there is none:
// then the cause is internal and must not be shown.
func AsError(err error) *Error {
	e, _ := errors.AsType[*Error](err)
	return e
}

// Errors of authentication.
var (
	ErrUnauthenticated = &Error{
		Code: CodeUnauthenticated, Type: "unauthenticated", Title: "Authentication is required or was refused",
		Detail: "Send a valid API key or subscriber token as 'Authorization: Bearer …'.",
	}
	ErrForbidden = &Error{Code: CodeForbidden, Type: "forbidden", Title: "Not allowed"}
)

// Errors about apps, topics and keys.
var (
	ErrAppNotFound    = &Error{Code: CodeNotFound, Type: "app-not-found", Title: "There is no such app", Detail: "List the apps you may see with GET /v1/apps."}
	ErrAppExists      = &Error{Code: CodeConflict, Type: "app-exists", Title: "An app of this name exists already"}
	ErrAppNameInvalid = &Error{Code: CodeUnprocessable, Type: "app-name-invalid", Title: "The app name is not valid"}
	ErrAppInvalid     = &Error{Code: CodeUnprocessable, Type: "app-invalid", Title: "The app is not valid"}
	ErrAppProtected   = &Error{Code: CodeConflict, Type: "app-protected", Title: "The app 'default' cannot be deleted"}

	ErrTopicNotFound    = &Error{Code: CodeNotFound, Type: "topic-not-found", Title: "There is no such topic here", Detail: "Only registered topics with external = true can be subscribed to from outside."}
	ErrTopicExists      = &Error{Code: CodeConflict, Type: "topic-exists", Title: "A topic of this name is registered already"}
	ErrTopicNameInvalid = &Error{Code: CodeUnprocessable, Type: "topic-name-invalid", Title: "The topic name is not valid"}
	ErrTopicsFull       = &Error{Code: CodeTooMany, Type: "topic-names-full", Title: "The app has events under as many names of topics as it may", RetryAfter: 10 * time.Minute}
	ErrTopicReserved    = &Error{Code: CodeForbidden, Type: "topic-reserved", Title: "Topic names beginning with '$' belong to the system"}
	ErrTopicInvalid     = &Error{Code: CodeUnprocessable, Type: "topic-invalid", Title: "The topic is not valid"}
	ErrExternalField    = &Error{Code: CodeUnprocessable, Type: "external-has-its-own-endpoint", Title: "'external' is changed only by its own endpoint", Detail: "Use PATCH …/topics/{topic}/external with {\"external\": true} or {\"external\": false}."}

	ErrKeyNotFound = &Error{Code: CodeNotFound, Type: "key-not-found", Title: "There is no such key"}
	ErrKeyInvalid  = &Error{Code: CodeUnprocessable, Type: "key-invalid", Title: "The key is not valid"}

	ErrTokenRequestInvalid = &Error{Code: CodeUnprocessable, Type: "token-request-invalid", Title: "The subscriber token cannot be issued"}
)

// Errors about events.
var (
	ErrIncidentNotFound   = &Error{Code: CodeNotFound, Type: "incident-not-found", Title: "There is no such incident", Detail: "List them with GET /v1/incidents."}
	ErrEventNotFound      = &Error{Code: CodeNotFound, Type: "event-not-found", Title: "There is no such event", Detail: "It never existed, or retention has removed it."}
	ErrPositionInvalid    = &Error{Code: CodeInvalid, Type: "position-invalid", Title: "The position is not valid"}
	ErrPositionGone       = &Error{Code: CodeGone, Type: "position-gone", Title: "Events after this position have been removed by retention", Detail: "Fetch the current state and begin without a position, or with since=all."}
	ErrPositionForeign    = &Error{Code: CodeGone, Type: "position-foreign", Title: "The position belongs to another history", Detail: "The node was restored or replaced. Fetch the current state and begin without a position."}
	ErrDataInvalid        = &Error{Code: CodeInvalid, Type: "data-invalid", Title: "The body is not valid JSON"}
	ErrDataTooLarge       = &Error{Code: CodeTooLarge, Type: "data-too-large", Title: "The event is too large"}
	ErrBatchInvalid       = &Error{Code: CodeUnprocessable, Type: "batch-invalid", Title: "The batch is not valid"}
	ErrIdempotencyInvalid = &Error{Code: CodeInvalid, Type: "idempotency-key-invalid", Title: "The Idempotency-Key is not valid"}
	ErrIdempotencyFull    = &Error{Code: CodeTooMany, Type: "idempotency-keys-full", Title: "The app has used as many idempotency keys as it may in 24 hours"}
	ErrIdempotencyReused  = &Error{Code: CodeUnprocessable, Type: "idempotency-key-reused", Title: "The Idempotency-Key was used for another request", Detail: "Use a fresh key for each new request, and repeat a key only with the same topic and data."}
)

// Errors about the node's state of health.
var (
	ErrBusy        = &Error{Code: CodeUnavailable, Type: "intake-full", Title: "The node has more to write than it can take", Detail: "Nothing was stored. Repeat the request after the time in Retry-After.", RetryAfter: time.Second}
	ErrStopping    = &Error{Code: CodeUnavailable, Type: "stopping", Title: "The node is stopping", Detail: "Nothing was stored. Repeat the request after the time in Retry-After.", RetryAfter: 5 * time.Second}
	ErrNoSpace     = &Error{Code: CodeNoSpace, Type: "disk-reserve-reached", Title: "The disk is full up to its reserve", Detail: "Nothing was stored. Free space on the card or shorten retention, then repeat the request.", RetryAfter: time.Minute}
	ErrBacklogFull = &Error{Code: CodeNoSpace, Type: "backlog-full", Title: "The journal is full of what Postgres has not got yet", Detail: "Nothing was stored. Events already acknowledged are kept until Postgres can be reached; mend that connection, or raise storage.journal_bytes.", RetryAfter: time.Minute}
	ErrStateFull   = &Error{Code: CodeNoSpace, Type: "state-full", Title: "The node keeps as much data as it can", Detail: "Nothing was stored. Delete keys that are not needed any more.", RetryAfter: time.Minute}
	ErrAppFull     = &Error{Code: CodeNoSpace, Type: "app-quota-reached", Title: "The app keeps as much data as it may", RetryAfter: time.Minute}
	ErrReadOnly    = &Error{Code: CodeUnavailable, Type: "read-only", Title: "The node cannot write to its disk", Detail: "Nothing was stored. Reading still works; 'picloud doctor' on the node says what is wrong.", RetryAfter: time.Minute}
)
