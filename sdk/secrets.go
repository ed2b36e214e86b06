package sdk

import (
	"context"
	"errors"

	"github.com/picloud/picloud"
)

func (h *Host) secretsGet(_ context.Context, c *call) (any, error) {
	var name string
	if err := c.read(&name); err != nil {
		return nil, err
	}
	value, err := h.cfg.Store.Secret(c.app, name)
	if errors.Is(err, picloud.ErrSecretNotFound) {
		return nil, nil //nolint:nilnil // null is the answer
	}
	return value, err
}
