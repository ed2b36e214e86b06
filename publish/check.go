package publish

import (
	"fmt"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

// check returns the first fault of p. Unless into is nil, it receives the
// drafts with their data copied and compacted.
func (s *Service) check(p picloud.Publication, into []picloud.Draft) error {
	if err := checkIdempotencyKey(p.IdempotencyKey); err != nil {
		return err
	}
	switch n := len(p.Drafts); {
	case n == 0:
		return picloud.ErrBatchInvalid.Detailf("there is no event in it: send 1 to %d", picloud.MaxBatch)
	case n > picloud.MaxBatch:
		return picloud.ErrBatchInvalid.Detailf("it has %d events: send at most %d in one request", n, picloud.MaxBatch)
	}
	// Sizes come first, as they cost nothing to check.
	total := 0
	for i, d := range p.Drafts {
		if len(d.Data) > s.cfg.MaxData {
			return inBatch(p, i, picloud.ErrDataTooLarge.Detailf("the data has %d bytes, the limit is %d: send less, or raise PICLOUD_PUBLISH_MAX_BYTES", len(d.Data), s.cfg.MaxData))
		}
		total += len(d.Data)
	}
	if total > picloud.MaxBatchBytes {
		return picloud.ErrDataTooLarge.Detailf("the batch has %d bytes of data, the limit is %d: send it in several requests", total, picloud.MaxBatchBytes)
	}
	scratch := takeBuffer()
	defer giveBuffer(scratch)
	for i, d := range p.Drafts {
		if err := checkTopic(p.By, d.Topic); err != nil {
			return inBatch(p, i, err)
		}
		scratch.Reset()
		if err := check.CompactJSON(scratch, d.Data); err != nil {
			return inBatch(p, i, err)
		}
		if into != nil {
			data := make([]byte, scratch.Len())
			copy(data, scratch.Bytes())
			into[i] = picloud.Draft{Topic: d.Topic, Data: data, Edge: d.Edge}
		}
	}
	return nil
}

// checkTopic lets the system alone publish under the system's names, and no caller a
// state, which is in no journal.
func checkTopic(by picloud.Principal, topic string) error {
	if picloud.IsStateTopic(topic) {
		return picloud.ErrTopicReserved.Detailf("%s is a state: it cannot be published to", topic)
	}
	if by.Kind == picloud.KindSystem {
		return check.AnyTopicName(topic)
	}
	return check.TopicName(topic)
}

func checkIdempotencyKey(key string) error {
	if len(key) > picloud.MaxIdempotencyKey {
		return picloud.ErrIdempotencyInvalid.Detailf("it has %d bytes: use 1 to %d", len(key), picloud.MaxIdempotencyKey)
	}
	for i := range len(key) {
		if key[i] < '!' || key[i] > '~' {
			return picloud.ErrIdempotencyInvalid.Detailf("byte %d is not visible ASCII: use a random text such as a UUID", i+1)
		}
	}
	return nil
}

// inBatch says which event of a batch a fault is about.
func inBatch(p picloud.Publication, i int, err error) error {
	e := picloud.AsError(err)
	if e == nil {
		return fmt.Errorf("check event %d: %w", i, err)
	}
	if len(p.Drafts) == 1 {
		return e
	}
	return e.Detailf("event [%d] of the batch (counted from 0): %s", i, e.Detail)
}
