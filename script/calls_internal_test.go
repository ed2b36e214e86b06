package script

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
)

// TestReplyBytesAreGivenBack takes and gives as calls do, some of which are cut off while
// they wait: nothing is left taken, and nothing waits.
func TestReplyBytesAreGivenBack(t *testing.T) {
	t.Parallel()
	r := replyBytes{limit: maxReplies, free: maxReplies}
	var group sync.WaitGroup
	for seed := range uint64(8) {
		group.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 1)) // #nosec G404 -- a test that can be repeated
			for range 500 {
				ctx, cancel := context.WithCancel(t.Context())
				if rnd.IntN(4) == 0 {
					group.Go(cancel)
				}
				held := 0
				if err := r.take(ctx, rnd.IntN(2*maxReplies), &held); err != nil && held != 0 {
					t.Error("a call that was cut off holds bytes")
				}
				r.settle(rnd.IntN(maxReplies), &held)
				r.give(held)
				cancel()
			}
		})
	}
	group.Wait()
	if r.free != maxReplies || len(r.waiting) > 0 {
		t.Errorf("%d of %d bytes are free, and %d wait", r.free, maxReplies, len(r.waiting))
	}
}
