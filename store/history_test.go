package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// PB-2: pages of any size of the history of any topics, over several segments, together have
// each event once, in order of sequence, and say where the next one begins.
func TestPagesOfManyTopics(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir(), SegmentSize: 64 << 10})
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0)) // #nosec G404 -- a test
	t.Logf("seed %d", seed)
	pad := strings.Repeat("x", 100)
	topicOf := map[uint64]string{}
	for range 60 {
		p := picloud.Publication{App: "default", By: picloud.LocalOperator()}
		for range 1 + rnd.IntN(40) {
			p.Drafts = append(p.Drafts, picloud.Draft{Topic: fmt.Sprint("t", int(float64(20)*rnd.Float64()*rnd.Float64())), Data: []byte(`"` + pad + `"`)})
		}
		events, err := s.Publish(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			topicOf[e.Seq] = e.Topic
		}
	}
	for range 40 {
		var topics []string
		for i := range 22 { // two of them have no event
			if rnd.IntN(3) > 0 {
				topics = append(topics, fmt.Sprint("t", i))
			}
		}
		var want, got []uint64
		for seq, topic := range topicOf {
			if slices.Contains(topics, topic) {
				want = append(want, seq)
			}
		}
		slices.Sort(want)
		q := picloud.HistoryQuery{App: "default", Topics: topics, Limit: 1 + rnd.IntN(50), Bytes: 1 + rnd.IntN(10_000)}
		for more := true; more; {
			page, err := s.Events(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Events) > q.Limit || (page.More && len(page.Events) == 0) {
				t.Fatalf("a page of %d events, the limit is %d; more: %t", len(page.Events), q.Limit, page.More)
			}
			for _, e := range page.Events {
				got = append(got, e.Seq)
			}
			q.After, more = page.Next, page.More
		}
		if !slices.Equal(got, want) {
			t.Fatalf("of topics %v the pages of %d have %d events, want %d:\n%v\n%v", topics, q.Limit, len(got), len(want), got, want)
		}
	}
}
