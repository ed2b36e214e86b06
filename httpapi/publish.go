package httpapi

import (
	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

// publishOne publishes the body as the data of one event.
func (s *Server) publishOne(r *request) error {
	if err := requireJSON(r.RequestCtx); err != nil {
		return err
	}
	events, err := s.publish(r, []picloud.Draft{{Topic: r.param("topic"), Data: r.PostBody()}})
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusCreated, publishedBody(&events[0]))
}

// publishMany publishes the events of an array in one commit.
func (s *Server) publishMany(r *request) error {
	var b []api.Draft
	if err := r.decode(&b, false); err != nil {
		return err
	}
	drafts := make([]picloud.Draft, len(b))
	for i, d := range b {
		if d.Data == nil {
			return picloud.ErrBatchInvalid.Detailf("event %d has no data; send {\"topic\": …, \"data\": …}, data may be null", i)
		}
		drafts[i] = picloud.Draft{Topic: d.Topic, Data: d.Data}
	}
	events, err := s.publish(r, drafts)
	if err != nil {
		return err
	}
	list := make([]api.Published, len(events))
	for i := range events {
		list[i] = publishedBody(&events[i])
	}
	return r.reply(fasthttp.StatusCreated, list)
}

func (s *Server) publish(r *request, drafts []picloud.Draft) ([]picloud.Event, error) {
	key := r.Request.Header.Peek("Idempotency-Key")
	if key != nil && len(key) == 0 {
		return nil, picloud.ErrIdempotencyInvalid.Detailf("it is empty; leave the header out or use 1 to %d visible ASCII characters", picloud.MaxIdempotencyKey)
	}
	return s.cfg.Publisher.Publish(r.patience(), picloud.Publication{App: r.param("app"), Drafts: drafts, IdempotencyKey: string(key), By: r.principal})
}

func publishedBody(e *picloud.Event) api.Published {
	return api.Published{ID: e.Position.String(), Topic: e.Topic, PublishedAt: api.At(e.PublishedAt), Durability: string(e.Durability)}
}
