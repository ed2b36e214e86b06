package sdk

import (
	"context"
	"encoding/json"
)

func (h *Host) hwHealth(context.Context, *call) (any, error) { return h.cfg.Board.Health(), nil }

func (h *Host) hwPins(_ context.Context, c *call) (any, error) { return h.cfg.Board.Pins(c.app), nil }

func (h *Host) hwRead(_ context.Context, c *call) (any, error) {
	var name string
	if err := c.read(&name); err != nil {
		return nil, err
	}
	return h.cfg.Board.ReadPin(c.app, name)
}

func (h *Host) hwSet(_ context.Context, c *call) (any, error) {
	var name string
	var raw json.RawMessage
	if err := c.read(&name, &raw); err != nil {
		return nil, err
	}
	if t := string(raw); t != "true" && t != "false" { // a lamp is not to go off because of a slip
		return nil, errArgument.Detailf("argument 2: a pin is set to true or false")
	}
	return nil, h.cfg.Board.SetPin(c.app, name, string(raw) == "true")
}
