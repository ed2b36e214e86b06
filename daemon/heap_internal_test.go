package daemon

import "testing"

// SR-4: a node that has come to rest gives back what a busy time has left behind, also when
// that goes bit by bit; a node at rest, or one that is busy, collects no garbage for it.
func TestMemoryIsGivenBack(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	w := heapWatch{left: 20 * mib, rests: heapRests}
	allocated := uint64(0)
	for i, look := range []struct {
		allocates, resident, leaves uint64 // MiB
		want                        bool
	}{
		{1, 22, 0, false}, // at rest
		{1, 27, 0, false},
		{1, 29, 20, true}, // garbage has come together all the same
		{500, 90, 0, false},
		{900, 120, 0, false},
		{2, 120, 36, true}, // the backlog is still there
		{2, 37, 30, true},
		{2, 31, 24, true}, // it has gone
		{2, 31, 0, false},
		{15, 33, 24, true},
		{17, 24, 0, false},
		{1, 24, 24, true},
	} {
		allocated += look.allocates * mib
		if got := w.due(allocated, look.resident*mib); got != look.want {
			t.Errorf("look %d: %t", i, got)
		}
		if look.want {
			w.left = look.leaves * mib
		}
	}
}
