package httpapi

import (
	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud/api"
)

func (s *Server) listIncidents(r *request) error {
	list := s.cfg.Store.Incidents()
	b := api.Incidents{Incidents: make([]api.Incident, len(list))}
	for i, in := range list {
		b.Incidents[i] = api.Incident{ID: in.ID, Text: in.Text, At: api.At(in.At), AcknowledgedAt: api.At(in.AcknowledgedAt), HealedAt: api.At(in.HealedAt), Healed: in.Healed}
	}
	return r.reply(fasthttp.StatusOK, b)
}

// ackIncidents acknowledges those that the body selects. One that selects all has to say
// so: an empty body is more often a slip.
func (s *Server) ackIncidents(r *request) error {
	var b api.IncidentSelection
	if err := r.decode(&b, false); err != nil {
		return err
	}
	if (len(b.IDs) > 0) == b.All {
		return errBody.Detailf("say which incidents: ids; or all, and nothing else")
	}
	n, err := s.cfg.Store.AckIncidents(r.patience(), b.IDs...)
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, api.Counted{Count: n})
}
