package hw

import (
	"context"
	"testing"
	"time"

	"github.com/picloud/picloud/board"
)

// pulsesOfTheKernel makes pulses on an inverted line of a real kernel and measures them
// on its other side. A pulse is never shorter than it was asked to be.
func pulsesOfTheKernel(t *testing.T, s *simulator, b *Board) {
	t.Helper()
	const length = 50 * time.Millisecond
	var longest time.Duration
	for range 10 {
		began := time.Now()
		if p, err := b.SetPin(context.Background(), board.PinChange{App: "a", Name: "relay", On: true, For: length}); err != nil || !*p.On || p.ForMS < 1 || p.ForMS > length.Milliseconds() {
			t.Fatalf("%+v, %v", p, err)
		}
		for s.value(23) == "0" {
			if time.Since(began) > 10*time.Second {
				t.Fatal("the pulse does not end")
			}
		}
		took := time.Since(began)
		if took < length {
			t.Errorf("a pulse of %v took %v", length, took)
		}
		longest = max(longest, took)
	}
	t.Logf("pulses of %v took up to %v", length, longest)
}
