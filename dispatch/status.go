package dispatch

import (
	"errors"
	"log/slog"
	"math"
	"time"

	"github.com/picloud/picloud"
)

// State is what a lane is about.
type State string

// The states.
const (
	StateStarting State = "starting" // has not begun yet
	StateDraining State = "draining" // hands over records
	StateIdle     State = "idle"     // everything is done
	StateWaiting  State = "waiting"  // an error; tries again
)

// Status says how a lane is doing.
type Status struct {
	Name     string
	State    State
	Since    time.Time // when that state began
	Done     uint64    // everything up to this record is done
	Last     uint64    // newest record of the journal
	Waiting  uint64    // records between
	PerSec   float64   // records handed over, lately
	SetAside uint64    // as far as the consumer has told
	Lost     uint64    // dropped by the journal before they were handed over, ever

	Refused []picloud.Refused // the newest of those that are set aside, newest first; must not be changed

	Error   string    // of the last failure; empty while all is well
	Advice  string    // the one thing to do about it; empty: wait
	Failed  time.Time // when that was
	NextTry time.Time // zero unless waiting
}

// Status returns the present one.
func (l *Lane) Status() Status {
	l.mu.Lock()
	st := l.status
	st.PerSec = l.meter.rate(l.cfg.Now())
	l.mu.Unlock()
	st.Name = l.cfg.Name
	if st.State == "" {
		st.State = StateStarting
	}
	st.Last = l.cfg.Journal.LastLSN()
	st.Waiting = l.cfg.Journal.RecordsAfter(st.Done)
	return st
}

// Connected reports whether the consumer works, or has nothing to do.
func (s Status) Connected() bool { return s.State == StateDraining || s.State == StateIdle }

// Lag returns how long the oldest record that is not done has waited; 0 when
// all is done.
func (l *Lane) Lag() time.Duration {
	st := l.Status()
	if st.Waiting == 0 {
		return 0
	}
	reader, err := l.cfg.Journal.OpenLog(st.Done)
	if err != nil {
		return 0
	}
	defer func() { _ = reader.Close() }() // only read
	r, err := reader.Next()
	if err != nil {
		return 0
	}
	return max(0, l.cfg.Now().Sub(r.At))
}

// begun notes where the consumer stands.
func (l *Lane) begun(st picloud.Standing) {
	l.mu.Lock()
	l.status.Done, l.status.SetAside, l.status.Lost = st.Done, st.SetAside, st.Lost
	l.status.Refused = st.Refused
	l.status.Error, l.status.Advice, l.status.Failed, l.status.NextTry = "", "", time.Time{}, time.Time{}
	l.mu.Unlock()
	l.cfg.Journal.MoveCursor(l.cfg.Name, st.Done)
	l.setState(StateDraining)
}

// moved notes that records are done.
func (l *Lane) moved(to uint64, records int) {
	l.mu.Lock()
	l.status.Done = to
	l.meter.add(l.cfg.Now(), records)
	l.mu.Unlock()
	l.cfg.Journal.MoveCursor(l.cfg.Name, to)
}

func (l *Lane) failed(err error, wait time.Duration) {
	now := l.cfg.Now()
	l.mu.Lock()
	what, advice := err.Error(), ""
	if a, ok := errors.AsType[advised](err); ok && what == a.Error() {
		what, advice = a.What(), a.Advice()
	}
	news := l.status.Error != what
	l.status.Error, l.status.Advice, l.status.Failed, l.status.NextTry = what, advice, now, now.Add(wait)
	l.mu.Unlock()
	if news {
		l.log.Warn("lane waits and tries again", slog.Any("err", err))
	}
	l.setState(StateWaiting)
}

// advised is an error that says what there is to do.
type advised interface {
	error
	What() string // the error without the advice
	Advice() string
}

func (l *Lane) setState(s State) {
	l.mu.Lock()
	changed := l.status.State != s
	if changed {
		l.status.State, l.status.Since = s, l.cfg.Now()
	}
	l.mu.Unlock()
	if changed {
		l.cfg.Changed(l.Status())
	}
}

// meter is a rate that forgets: what happened ten seconds ago counts for a
// third.
type meter struct {
	value float64 // records per second
	at    time.Time
}

const meterSpan = 10 * time.Second

func (m *meter) add(now time.Time, n int) {
	m.value = m.rate(now) + float64(n)/meterSpan.Seconds()
	m.at = now
}

func (m *meter) rate(now time.Time) float64 {
	if m.at.IsZero() {
		return 0
	}
	return m.value * math.Exp(-now.Sub(m.at).Seconds()/meterSpan.Seconds())
}
