package httpapi

import (
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/board"
)

func pinBody(p *board.Pin) api.Pin {
	b := api.Pin{
		Name: p.Name, Line: p.Line, Output: p.Output, On: p.On, ForMS: p.ForMS, SetBy: p.SetBy, Topic: p.Topic, Simulated: p.Simulated, Fault: p.Fault,
	}
	if f := p.Follow; f != nil {
		b.Follow = &api.PinFollow{Topic: f.Topic, Path: f.Path, Event: f.Event, Fault: f.Fault}
	}
	if c := p.Pending; c != nil {
		b.Pending = &api.PinPending{On: c.On, InMS: c.InMS, ForMS: c.ForMS}
	}
	return b
}

func (s *Server) listPins(r *request) error {
	list := s.cfg.Board.Pins(r.param("app"))
	out := api.Pins{Pins: make([]api.Pin, len(list))}
	for i := range list {
		out.Pins[i] = pinBody(&list[i])
	}
	return r.reply(fasthttp.StatusOK, out)
}

func (s *Server) showPin(r *request) error {
	p, err := s.cfg.Board.Pin(r.param("app"), r.param("pin"))
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, pinBody(&p))
}

// setPin does not depend on its caller for a change that is held back, or the end of a
// pulse: the board has them.
func (s *Server) setPin(r *request) error {
	var b api.PinChange
	if err := r.decode(&b, false); err != nil {
		return err
	}
	if b.On == nil {
		return errBody.Detailf(`"on" is missing: set it to true or false`)
	}
	c := board.PinChange{App: r.param("app"), Name: r.param("pin"), On: *b.On, By: r.principal.Source()}
	if b.ForMS != nil {
		if ms := *b.ForMS; ms < board.MinPulse.Milliseconds() || ms > board.MaxPulse.Milliseconds() {
			return board.ErrPulseInvalid
		}
		c.For = time.Duration(*b.ForMS) * time.Millisecond
	}
	p, err := s.cfg.Board.SetPin(r.RequestCtx, c)
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, pinBody(&p))
}

// or returns what a pointer points to, else a default.
func or[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
}

// pressPin answers when the press is over; it is cut short when the server stops.
func (s *Server) pressPin(r *request) error {
	var b api.Press
	if err := r.decode(&b, true); err != nil {
		return err
	}
	press := board.Press{App: r.param("app"), Name: r.param("pin"), On: b.On}
	if b.On == nil {
		const longest = int64(board.MaxPress / time.Millisecond)
		length, bounce := or(b.ForMS, 100), or(b.BounceMS, 0)
		if length < 0 || length > longest || bounce < 0 || bounce > longest {
			return board.ErrPressInvalid
		}
		press.For, press.Bounce, press.Times = time.Duration(length)*time.Millisecond, time.Duration(bounce)*time.Millisecond, or(b.Times, 1)
	} else if b.ForMS != nil || b.Times != nil || b.BounceMS != nil {
		return board.ErrPressInvalid.Detailf(`"on" leaves the input as it says, and excludes the others.`)
	}
	err := s.cfg.Board.Press(r.RequestCtx, press)
	if err != nil {
		return err
	}
	return r.done()
}
