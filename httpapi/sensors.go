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
	AppSensors(app string) []board.Sensor
	Sensor(app, name string) (board.Sensor, error)
	Scan(ctx context.Context) (board.Scan, error)
}

func sensorBody(s *board.Sensor) api.Sensor {
	return api.Sensor{
		Name: s.Name, App: s.App, Topic: s.Topic, Driver: s.Driver, Place: s.Place, Simulated: s.Simulated,
		Values: s.Values, ReadAt: api.At(s.ReadAt), Failed: s.Failed, Fault: orNull(s.Fault), FaultSince: api.At(s.FaultSince),
	}
}

func sensorList(list []board.Sensor) api.Sensors {
	out := api.Sensors{Sensors: make([]api.Sensor, len(list))}
	for i := range list {
		out.Sensors[i] = sensorBody(&list[i])
	}
	return out
}

func (s *Server) listSensors(r *request) error {
	return r.reply(fasthttp.StatusOK, sensorList(s.cfg.Sensors.Sensors()))
}

func (s *Server) listAppSensors(r *request) error {
	return r.reply(fasthttp.StatusOK, sensorList(s.cfg.Sensors.AppSensors(r.param("app"))))
}

func (s *Server) showSensor(r *request) error {
	one, err := s.cfg.Sensors.Sensor(r.param("app"), r.param("sensor"))
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, sensorBody(&one))
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
