package dispatch

import (
	"context"
	"time"

	"github.com/picloud/picloud"
)

// Outbox keeps the deliveries to triggers; *store.Store implements it.
type Outbox interface {
	AllTriggers() []picloud.Trigger
	// Deliveries returns those of a trigger that are not done, in order, after an LSN.
	Deliveries(t picloud.Trigger, after uint64, limit int) ([]picloud.Pending, error)
	// DeliveryAt returns one of these with its data; false: it is done. When the data is
	// gone for good the error is picloud.ErrDeliveryGone.
	DeliveryAt(t picloud.Trigger, lsn uint64) (picloud.Delivery, bool, error)
	Outcomes
	Ticker
}

// Outcomes notes how deliveries ended.
type Outcomes interface {
	// MarkDone notes that deliveries are done.
	MarkDone(ctx context.Context, t picloud.Trigger, lsns []uint64) error
	// Postpone notes that a delivery failed, how often, and until when it waits.
	Postpone(ctx context.Context, t picloud.Trigger, d picloud.Delivery) error
	// Bury gives a delivery up.
	Bury(ctx context.Context, t picloud.Trigger, d picloud.Delivery, reason string) error
	// GiveUp gives deliveries up whose data is gone.
	GiveUp(ctx context.Context, t picloud.Trigger, lsns []uint64) error
}

// Ticker keeps which times have come for triggers of the clock.
type Ticker interface {
	LastTick(t picloud.Trigger) (time.Time, error)
	// Tick notes that a time has come, and enqueues a run for it if run says so.
	Tick(ctx context.Context, t picloud.Trigger, due time.Time, run bool) error
}

// Handler carries out a delivery. Its error decides what follows: one that says it is
// Permanent, or was the last of the attempts, buries the delivery; one that says
// it is Unavailable makes the trigger pause and uses no attempt, as the end of
// ctx does; after any other the delivery is tried again later.
type Handler interface {
	Handle(ctx context.Context, t picloud.Trigger, d picloud.Delivery) error
}
