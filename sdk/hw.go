package sdk

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"github.com/picloud/picloud/board"
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

func (h *Host) hwSensors(_ context.Context, c *call) (any, error) {
	return h.cfg.Sensors.AppSensors(c.app), nil
}

// hwSensor fails where the latest reading has: a script is not to take an old value for
// the present one.
func (h *Host) hwSensor(_ context.Context, c *call) (any, error) {
	var name string
	if err := c.read(&name); err != nil {
		return nil, err
	}
	s, err := h.cfg.Sensors.Sensor(c.app, name)
	if err != nil {
		return nil, err
	}
	if err := s.Measured(); err != nil {
		return nil, err
	}
	return s, nil
}

func (h *Host) hwSet(ctx context.Context, c *call) (any, error) {
	var name string
	var on json.RawMessage
	if err := c.read(&name, &on); err != nil {
		return nil, err
	}
	return nil, h.setPin(ctx, c, name, on, 2, 0)
}

// hwPulse makes a pulse, whose end does not depend on the run.
func (h *Host) hwPulse(ctx context.Context, c *call) (any, error) {
	var name string
	var ms float64
	on := json.RawMessage("true")
	if err := c.read(&name, &ms, &on); err != nil {
		return nil, err
	}
	if ms != math.Trunc(ms) || ms < float64(board.MinPulse.Milliseconds()) || ms > float64(board.MaxPulse.Milliseconds()) {
		return nil, board.ErrPulseInvalid
	}
	return nil, h.setPin(ctx, c, name, on, 3, time.Duration(ms)*time.Millisecond)
}

// setPin sets an output to the level that an argument of a script gives.
func (h *Host) setPin(ctx context.Context, c *call, name string, on json.RawMessage, argument int, pulse time.Duration) error {
	if t := string(on); t != "true" && t != "false" { // a lamp is not to go off because of a slip
		return errArgument.Detailf("argument %d: a pin is set to true or false", argument)
	}
	_, err := h.cfg.Board.SetPin(ctx, board.PinChange{App: c.app, Name: name, On: string(on) == "true", For: pulse, By: c.by.Source()})
	return err
}
