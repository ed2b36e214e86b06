package httpapi

import (
	"context"
	"fmt"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/board"
)

// Sensors are those of the board; *sensor.Poller implements it.
type Sensors interface {
	Sensors() []board.Sensor
	Scan(ctx context.Context) (board.Scan, error)
}

func (s *Server) listSensors(r *request) error {
	b := api.Sensors{Sensors: []api.Sensor{}}
	for _, one := range s.cfg.Sensors.Sensors() {
		b.Sensors = append(b.Sensors, api.Sensor{
			Name: one.Name, App: one.App, Topic: one.Topic, Driver: one.Driver, Place: one.Place, Simulated: one.Simulated,
			Values: one.Values, ReadAt: api.At(one.ReadAt), Fault: orNull(one.Fault), FaultSince: api.At(one.FaultSince),
		})
	}
	return r.reply(fasthttp.StatusOK, b)
}

func (s *Server) scanBoard(r *request) error {
	found, err := s.cfg.Sensors.Scan(r.patience())
	if err != nil {
		return err
	}
	b := api.Scan{Simulated: found.Simulated, Buses: []api.ScannedBus{}, Files: []api.ScannedFile{}, Hints: append([]string{}, found.Hints...)}
	for _, bus := range found.Buses {
		one := api.ScannedBus{Bus: bus.Number, Adapter: bus.Name, Fault: orNull(bus.Fault), Devices: []api.ScannedDevice{}}
		for _, d := range bus.Devices {
			one.Devices = append(one.Devices, api.ScannedDevice{
				Address: fmt.Sprintf("0x%02x", d.Address), User: orNull(d.User), Drivers: append([]string{}, d.Drivers...),
			})
		}
		b.Buses = append(b.Buses, one)
	}
	for _, f := range found.Files {
		b.Files = append(b.Files, api.ScannedFile(f))
	}
	return r.reply(fasthttp.StatusOK, b)
}

// orNull returns nil for an empty text.
func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
