package script

// LockIn is for a process that tries the lock.
var LockIn = lockIn

// AllGone reports whether the runner knows of all its resting workers that they
// have ended.
func (r *Runner) AllGone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.idle {
		if !p.gone() {
			return false
		}
	}
	return r.spare == nil || r.spare.gone()
}
