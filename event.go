package picloud

import (
	"context"
	"time"
)

// Event is an immutable, committed fact. Data is compact JSON; callers must not
// change its bytes, since readers share them.
type Event struct {
	Position
	App         string
	Topic       string
	Data        []byte
	PublishedAt time.Time // stamped once by the committer: UTC, whole microseconds
	Source      string    // who published: "key:ab12cd34ef", "local", "spool", "system"
	Durability  Durability
	Node        string     // the node it was published on; empty: this one
	Stamp       *Stamp     // nil: PublishedAt can be believed
	CentralAt   time.Time  // when it was known to be in Postgres, at the latest; zero: it is not
	Edge        *time.Time // of its draft; nil once it has been read from the journal
}

// Stamp says that an event was stamped by a clock that could not be believed:
// one of a board without a battery, before it has learnt the time. All times of
// one start of the board are wrong by the same, which is known once the clock is
// right: by how much Started is.
type Stamp struct {
	Boot    string    // names that start of the board
	Started time.Time // when that was, by the same clock
}

// TimeLayout is how PublishedAt is written everywhere: RFC 3339 in UTC with
// exactly six digits, so that texts sort as times do.
const TimeLayout = "2006-01-02T15:04:05.000000Z"

// Draft is an event that has not been published yet.
type Draft struct {
	Topic string
	Data  []byte // any JSON value

	Edge *time.Time // when the edge was that the event tells of, to measure how long telling takes; nil: of none. Not kept
}

// Publication asks for one or more events of one app to be published in one
// commit, all or none.
type Publication struct {
	App            string
	Drafts         []Draft
	IdempotencyKey string // empty: none
	By             Principal
	Cause          Cause
}

// Limits of publishing.
const (
	MaxBatch          = 1000        // events of one publication
	MaxIdempotencyKey = 255         // bytes
	DefaultMaxData    = 256 << 10   // bytes of one event's data, before it is compacted
	LimitMaxData      = 1 << 20     // largest value the setting may have
	MaxBatchBytes     = 1<<20 + 512 // bytes of data of one publication; one commit group holds it
)

// Publisher is the one door in.
//
// Publish returns when the events are durable (or, on telemetry topics,
// announced). An error means that they are not in the journal, unless ctx ended
// first: then they may be, and a repeat with the same idempotency key is safe.
// The events are in the order of the drafts.
type Publisher interface {
	Publish(ctx context.Context, p Publication) ([]Event, error)
}
