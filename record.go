package picloud

import "time"

// Record is one entry of a node's journal as those see it who read it in order:
// an event, or a change of something else that is kept.
type Record struct {
	LSN    uint64    // its place in the journal, rising
	At     time.Time // when it was committed; UTC, whole microseconds
	More   bool      // the next record was committed with it, all or none
	Size   int       // bytes of its content, roughly
	Event  *Event    // nil: a change
	Change *Change   // nil: an event
}

// Change says that a thing is now so, or that it is gone. Repeating it does no
// harm.
type Change struct {
	Kind  ChangeKind
	App   string // empty for things of the whole instance
	Name  string // of the thing, within its app and kind
	Value any    // nil: it is gone. Otherwise the type of its kind, such as Topic; a node that is restored may get it as JSON (json.RawMessage)
}

// ChangeKind is the kind of thing a Change is about.
type ChangeKind string

// The kinds of things. A reader passes over kinds it does not know.
const (
	ChangeApp        ChangeKind = "app"
	ChangeTopic      ChangeKind = "topic"
	ChangeAPIKey     ChangeKind = "api-key"
	ChangeSigningKey ChangeKind = "signing-key"
	ChangeKV         ChangeKind = "kv"
	ChangeScript     ChangeKind = "script"
	ChangeTrigger    ChangeKind = "trigger"
	ChangeSecret     ChangeKind = "secret"
	ChangeEndpoint   ChangeKind = "endpoint"
	ChangeCollection ChangeKind = "collection"
	ChangeDocument   ChangeKind = "document" // Name is that of the collection, a zero byte, and the id
	ChangeDeadLetter ChangeKind = "dead-letter"
	ChangeFile       ChangeKind = "file"    // what there is to know of it, not its content
	ChangeDropped    ChangeKind = "dropped" // so many records were given up here to make room
	ChangeClock      ChangeKind = "clock"   // Name names a start of the board, Value is when it truly was
)

// RecordReader reads a journal in order. It is for one goroutine, and holds
// files open until it is closed.
type RecordReader interface {
	// Next returns the next durable record, or io.EOF when there is none yet.
	Next() (Record, error)
	// Passed returns how far the reader has come: every record up to it was
	// returned or concerns the node alone.
	Passed() uint64
	Close() error
}

// RecordsGoneError says that records were asked for that the journal does not
// have any more.
type RecordsGoneError struct {
	First uint64 // the oldest it has
}

// Error says so.
func (e *RecordsGoneError) Error() string {
	return "records before this one were dropped from the journal"
}

// Central is the owner of the cursor that tells how far the copy in Postgres has come.
const Central = "postgres"

// Standing is how far a reader of a journal has come, by its own account.
type Standing struct {
	Done     uint64    // everything up to this record is done
	SetAside uint64    // records that are set aside
	Lost     uint64    // records that the journal dropped before, ever
	Refused  []Refused // the newest of those that are set aside, newest first; at most MaxRefused
}

// MaxRefused is how many records that were set aside are named.
const MaxRefused = 5

// Refused names a record that was set aside.
type Refused struct {
	Kind, App, Name string // event, or what a Change is about; whose; topic, key, collection and id, or path
	Reason          string
}

// Cursor says how far a reader of the journal has come.
type Cursor struct {
	LSN uint64    // everything up to here is done
	At  time.Time // since when; zero: not known
}
