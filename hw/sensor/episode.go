package sensor

import "time"

// Limits of how long a fault that has come back must be gone to end.
const (
	goneMin = time.Minute
	goneMax = time.Hour
)

// episode is a fault from its begin to its end, as it is told. A loose contact would begin
// and end one with each reading. The first ends when the fault is gone. One that begins
// within goneMax after another is taken for the same coming back: it ends when the fault
// has been gone for goneMin, and for twice as long each time, up to goneMax. So in the
// long run there is one episode an hour at most, and while one is open there is a fault.
type episode struct {
	open    bool
	returns int           // of the fault within the episode
	gone    time.Time     // since when the fault of the open episode is; zero: it is there
	need    time.Duration // for which it must be gone to end
	ended   time.Time     // the episode before; zero: there was none
}

// note takes whether there is a fault now, and reports whether the episode begins or ends by that.
func (e *episode) note(faulty bool) (begins, ends bool) {
	now := time.Now()
	switch {
	case faulty && !e.open:
		if e.ended.IsZero() || now.Sub(e.ended) >= goneMax {
			e.need = 0
		} else {
			e.need = min(max(2*e.need, goneMin), goneMax)
		}
		e.open, e.returns, e.gone = true, 0, time.Time{}
		return true, false
	case faulty:
		if !e.gone.IsZero() {
			e.returns++
		}
		e.gone = time.Time{}
	case e.open:
		if e.gone.IsZero() {
			e.gone = now
		}
		if now.Sub(e.gone) >= e.need {
			e.open, e.ended = false, now
			return false, true
		}
	}
	return false, false
}
