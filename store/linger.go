package store

import "time"

// linger decides how long a group that is to be fsynced waits for company. It
// belongs to the committer.
//
// Publishers that wait for their answer before they publish again come back together,
// right after the commit that answered them. A commit that takes only the first of
// them keeps the others waiting for a whole fsync, and stays half full for ever: those
// who missed it fill the next one. So a group waits for as many commands as may be on
// their way: those that the last commit answered, and those that waited in the intake
// meanwhile. A lone publisher is all there is to wait for, and never waits.
//
// The wait ends when they are there, after a twentieth of the time a commit takes
// without a new command, and after a quarter of it in any case. A wait that brings less
// than half of those expected was in vain; after the second in a row lingering is tried
// half as often each time, so that publishers that come by chance lose next to nothing.
// That matters since timers are coarse: Go wakes an idle process up to a millisecond
// late, which is what a wait in vain costs at worst beside the time that it was meant
// to take.
type linger struct {
	commit   time.Duration // how long commits with an fsync take, smoothed
	expected int           // commands that may come together
	vain     int           // waits in vain, in a row, up to maxVain
	skip     int           // groups that do not wait, next

	// Of the group at hand.
	taken int
	first int         // taken when the wait began; 0: it has not
	until time.Time   // the wait ends
	timer *time.Timer // nil: never needed yet
}

// maxVain bounds how rare lingering becomes: one of 2^(maxVain-1) groups waits.
const maxVain = 7

// minLinger is the shortest wait that is worth a timer.
const minLinger = 40 * time.Microsecond

// shortCommit is the shortest time that a group may take to be prepared.
const shortCommit = 5 * time.Millisecond

// begin begins a group.
func (l *linger) begin() { l.taken, l.first = 0, 0 }

// next returns the next command, or nil when the group should wait no longer. The
// intake was empty just now.
func (l *linger) next(in *intake) *command {
	gap := l.commit / 20
	if l.taken >= l.expected || gap < minLinger {
		return nil
	}
	now := time.Now()
	if l.first == 0 {
		if l.skip > 0 {
			l.skip--
			l.expected = 0 // this group is decided
			return nil
		}
		l.first, l.until = l.taken, now.Add(l.commit/4)
	}
	wait := min(gap, l.until.Sub(now))
	if wait <= 0 {
		return nil
	}
	if l.timer == nil {
		l.timer = time.NewTimer(wait)
	} else {
		l.timer.Reset(wait)
	}
	select {
	case <-in.come:
		l.timer.Stop()
		return in.take()
	case <-l.timer.C:
		return nil
	}
}

// end notes whether the wait was in vain.
func (l *linger) end() {
	switch {
	case l.first == 0:
	case 2*(l.taken-l.first) >= l.expected-l.first:
		l.vain = 0
	default:
		l.vain = min(l.vain+1, maxVain)
		l.skip = 1<<(l.vain-1) - 1
	}
}

// slowCommit bounds what a commit counts for: a disk that hangs once must not make
// the groups after it wait.
const slowCommit = 100 * time.Millisecond

// committed notes how long a commit with an fsync took.
func (l *linger) committed(took time.Duration) { l.commit += (min(took, slowCommit) - l.commit) / 8 }

// expect notes how many commands a commit is about to answer, and how many wait.
func (l *linger) expect(answered, waiting int) { l.expected = answered + waiting }
