package hw

import "time"

// Gestures of a button.
const (
	gesturePress  = "press"
	gestureHold   = "hold"
	gestureDouble = "double"
)

// button turns the level of a button into gestures: of each time it is used, one. It
// was held when it was down for the time hold, and pressed twice when it went down again
// within the time double of the first time; else it was pressed. A press is told as soon
// as it can be nothing else: at once when neither hold nor double is set.
type button struct {
	hold, double time.Duration // 0: there is no such gesture

	down bool
	at   time.Time // when it went down first
	told bool      // what it was
}

// gesture is one that was recognised.
type gesture struct {
	name string
	at   time.Time // when the button went down
}

// start forgets everything: a button that is down already tells nothing.
func (b *button) start(down bool) { b.down, b.told = down, true }

// change takes a change of the level.
func (b *button) change(at time.Time, down bool) (gesture, bool) {
	if down == b.down {
		return gesture{}, false
	}
	b.down = down
	switch {
	case down && !b.told: // within double, as advance has told everything older
		b.told = true
		return gesture{gestureDouble, at}, true
	case down:
		b.at, b.told = at, b.hold == 0 && b.double == 0
		return gesture{gesturePress, at}, b.told
	case !b.told && at.Sub(b.at) >= b.double:
		b.told = true
		return gesture{gesturePress, b.at}, true
	}
	return gesture{}, false
}

// advance returns the gesture that a time makes known, if there is one.
func (b *button) advance(now time.Time) (gesture, bool) {
	due := b.next()
	if due.IsZero() || now.Before(due) {
		return gesture{}, false
	}
	b.told = true
	if b.down && b.hold > 0 {
		return gesture{gestureHold, b.at}, true
	}
	return gesture{gesturePress, b.at}, true
}

// next returns when advance has something to tell; zero: only after another change.
func (b *button) next() time.Time {
	switch {
	case b.told:
		return time.Time{}
	case b.down && b.hold > 0:
		return b.at.Add(b.hold)
	}
	return b.at.Add(b.double)
}
