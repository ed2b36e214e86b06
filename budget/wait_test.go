package budget_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/budget"
)

// SR-2: those that wait are served in their order; one whose app has no room keeps nobody
// of another app waiting.
func TestWaitingIsFair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget()
		share := b.Share(budget.Answers)
		greedy, err := b.Draw(budget.Answers, party("greedy", ""), share/2)
		if err != nil {
			t.Fatal(err)
		}
		rest := b.Lease(budget.Answers, party("other", ""))
		rest.Set(share/2 - 1<<10)
		turns := make(chan string, 10)
		wait := func(app string, i int) {
			l := b.Lease(budget.Answers, party(app, ""))
			if err := l.Wait(t.Context(), 256<<10); err != nil {
				t.Error(err)
			}
			turns <- fmt.Sprint(app, i)
			l.Release()
		}
		for i := range 3 {
			go wait("greedy", i)
			synctest.Wait()
			go wait("modest", i)
			synctest.Wait()
		}
		if len(turns) != 0 {
			t.Fatalf("%d had their turn in a full share", len(turns))
		}
		rest.Set(rest.Bytes() - 512<<10)
		synctest.Wait()
		if got := drain(turns); !slices.Equal(got, []string{"modest0", "modest1", "modest2"}) {
			t.Errorf("with room for others than the greedy app: %v", got)
		}
		greedy.Release()
		synctest.Wait()
		if got := drain(turns); !slices.Equal(got, []string{"greedy0", "greedy1", "greedy2"}) {
			t.Errorf("with room for all: %v", got)
		}
		rest.Release()
		if n := b.Held(budget.Answers); n != 0 {
			t.Errorf("%d bytes are held at rest", n)
		}
	})
}

func drain(c chan string) (list []string) {
	for len(c) > 0 {
		list = append(list, <-c)
	}
	slices.Sort(list) // of those whose turn came at the same time
	return list
}

// Waiting ends with its context, and leaves nothing behind.
func TestWaitingEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget()
		all, err := b.Draw(budget.Bodies, party("a", ""), b.Share(budget.Bodies))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		l := b.Lease(budget.Bodies, party("b", ""))
		began := time.Now()
		if err := l.Wait(ctx, 1<<20); !errors.Is(err, budget.ErrTotal) || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		all.Release()
		if l.Bytes() != 0 || b.Held(budget.Bodies) != 0 {
			t.Errorf("the lease has %d bytes, the share %d", l.Bytes(), b.Held(budget.Bodies))
		}
	})
}
