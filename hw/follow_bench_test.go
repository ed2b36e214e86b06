package hw

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/picloud/picloud"
)

// signalled is a line that tells when it is set.
type signalled struct{ times chan time.Time }

func (s signalled) open(*PinConfig) (line, error) { return s, nil }
func (s signalled) get() (bool, error)            { return false, nil }
func (s signalled) set(bool) error                { s.times <- time.Now(); return nil }
func (s signalled) Close() error                  { return nil }

// HW-3: from a committed event to the line of the output that follows its topic.
func BenchmarkEventToOutput(b *testing.B) {
	line := signalled{make(chan time.Time, 1)}
	board := following(retained{}, PinConfig{})
	board.chips = line
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- board.Run(ctx) }()
	took := make([]time.Duration, 0, b.N)
	seq := uint64(0)
	for b.Loop() {
		seq++
		data := `{"on":true,"at":"2026-11-26T20:15:00.123456Z"}`
		began := time.Now()
		board.Committed([]picloud.Event{retained{seq, data}.event()})
		took = append(took, (<-line.times).Sub(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "µs-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1000, "µs-p99")
	cancel()
	<-line.times // as the board stops
	<-ended
}

// What a commit pays for an event that no output follows, while another one is followed.
func BenchmarkEventWithoutOutput(b *testing.B) {
	board := following(retained{}, PinConfig{})
	events := []picloud.Event{{App: "a", Topic: "load", Data: []byte("1")}}
	b.ReportAllocs()
	for b.Loop() {
		board.Committed(events)
	}
}

// Setting an output and starting a pulse, without a kernel below it.
func BenchmarkPulse(b *testing.B) {
	board, change := lamp(PinConfig{}), pulseOf(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := board.SetPin(b.Context(), change); err != nil {
			b.Fatal(err)
		}
	}
}
