package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/hw"
	"github.com/picloud/picloud/hw/sensor"
	"github.com/picloud/picloud/store"
)

// boardStore is the store as inputs and sensors of the board use it.
type boardStore struct{ *store.Store }

// Newest implements hw.Store.
func (s boardStore) Newest(ctx context.Context, app, topic string) ([]byte, error) {
	events, err := s.Latest(ctx, app, []string{topic})
	if err != nil || len(events) == 0 {
		return nil, err
	}
	return events[0].Data, nil
}

// EnsureTopic implements hw.Store and sensor.Topics.
func (s boardStore) EnsureTopic(ctx context.Context, t picloud.Topic) (picloud.Topic, error) {
	has, err := s.Topic(t.App, t.Name)
	if errors.Is(err, picloud.ErrTopicNotFound) {
		has, err = s.CreateTopic(ctx, t)
		if errors.Is(err, picloud.ErrTopicExists) { // registered meanwhile
			has, err = s.Topic(t.App, t.Name)
		}
	}
	return has, err
}

// measurePins exports what the inputs of the board have seen, and what its outputs have
// done.
func measurePins(set *metrics.Set, board *hw.Board) {
	set.RegisterMetricsWriter(func(w io.Writer) {
		for _, in := range board.Inputs() {
			label := fmt.Sprintf("{app=%q,pin=%q}", in.App, in.Pin)
			metrics.WriteCounterUint64(w, "picloud_input_edges_total"+label, in.Edges)
			metrics.WriteCounterUint64(w, "picloud_input_edges_missed_total"+label, in.Missed)
			metrics.WriteCounterUint64(w, "picloud_input_events_total"+label, in.Events)
		}
		for _, out := range board.Outputs() {
			label := fmt.Sprintf("{app=%q,pin=%q}", out.App, out.Pin)
			metrics.WriteCounterUint64(w, "picloud_output_changes_total"+label, out.Changes)
			metrics.WriteCounterUint64(w, "picloud_output_changes_held_total"+label, out.Held)
		}
	})
}

var (
	_ hw.Store      = boardStore{}
	_ sensor.Topics = boardStore{}
)
