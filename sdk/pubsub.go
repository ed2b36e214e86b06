package sdk

import (
	"context"
	"encoding/json"

	"github.com/picloud/picloud"
)

func (h *Host) publish(ctx context.Context, c *call) (any, error) {
	var topic string
	var data json.RawMessage
	var o struct {
		IdempotencyKey string `json:"idempotency_key"`
	}
	if err := c.read(&topic, &data, &o); err != nil {
		return nil, err
	}
	events, err := h.cfg.Publisher.Publish(ctx, picloud.Publication{
		App: c.app, By: c.by, Cause: c.cause, IdempotencyKey: o.IdempotencyKey, Drafts: []picloud.Draft{{Topic: topic, Data: data}},
	})
	if err != nil {
		return nil, err //nolint:wrapcheck // worded for the caller
	}
	return map[string]any{"id": events[0].Position.String()}, nil
}

func (h *Host) subscriberToken(ctx context.Context, c *call) (any, error) {
	var topics []string
	var ttl float64
	if err := c.read(&topics, &ttl); err != nil {
		return nil, err
	}
	d, err := seconds(ttl)
	if err != nil {
		return nil, err
	}
	by := c.by
	if c.anonymous { // a token is a right, which an anonymous caller does not get
		by = picloud.Principal{}
	}
	token, expires, err := h.cfg.Mint(ctx, by, c.app, topics, d)
	if err != nil {
		return nil, err
	}
	return map[string]any{"token": token, "expiresAt": expires.Format(picloud.TimeLayout)}, nil
}
