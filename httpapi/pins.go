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

// setPin does not depend on its caller for the end of a pulse: the board has it.
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
	p, err := s.cfg.Board.SetPin(c)
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, pinBody(&p))
}

// pressPin answers when the press is over; it is cut short when the server stops.
func (s *Server) pressPin(r *request) error {
	b := api.Press{ForMS: 100, Times: 1}
	if err := r.decode(&b, true); err != nil {
		return err
	}
	const longest = int64(board.MaxPress / time.Millisecond)
	if b.ForMS < 0 || b.ForMS > longest || b.BounceMS < 0 || b.BounceMS > longest {
		return board.ErrPressInvalid
	}
	err := s.cfg.Board.Press(r.RequestCtx, board.Press{
		App: r.param("app"), Name: r.param("pin"), On: b.On, For: time.Duration(b.ForMS) * time.Millisecond, Times: b.Times, Bounce: time.Duration(b.BounceMS) * time.Millisecond,
	})
	if err != nil {
		return err
	}
	return r.done()
}
