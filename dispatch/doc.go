// Package dispatch carries out what a node has pending: it hands the journal, in order,
// to everyone who reacts to it.
//
// A Lane drives one Consumer. The consumer knows what to do with records and
// where it stands; the lane reads ahead, waits without polling, notes how far
// things have come, and decides what an error means:
//
//	             ┌───────────── records ──────────────┐
//	starting ─▶ Begin ─▶ idle ◀──────────────▶ draining
//	    ▲                  │        error        │
//	    └──── waiting ◀────┴──────────┬──────────┘
//	         (backoff)                └─ permanent: halve the batch until the one
//	                                     record is alone, try it again, SetAside
//
// An error is "unavailable" unless it says that it is permanent: the lane waits,
// growing and jittered, uses up no attempt, and begins again for as long as the
// node lives. Nothing pending is ever lost because a remote was away.
//
// A Dispatcher has a queue for each trigger, which delivers to its script:
//
//	kept ─▶ ready ─▶ running ─▶ done
//	          ▲         │ error
//	          │         ├─ last attempt, or permanent ─▶ buried: a dead letter
//	          ├─ waits ◀┤ (backoff)
//	          └─────────┘ unavailable: the trigger pauses, and no attempt is used
//
// What waits is known by its place in the outbox only: its data is read when it begins
// to run, and all queues together bound what they know and what runs.
//
// Triggers of the clock get a run when a time comes; a clock looks for times that
// have come.
//
// The package does not know Postgres, scripts or HTTP, and keeps nothing: a
// cursor is all a lane owns, and what a queue holds it can read again.
package dispatch
