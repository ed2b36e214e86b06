package httpapi

import (
	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

func (s *Server) showSync(r *request) error {
	if s.cfg.Sync == nil {
		return r.reply(fasthttp.StatusOK, api.Sync{State: "off", LastLSN: s.cfg.Store.LastLSN(), Refused: []api.Refused{}})
	}
	st := s.cfg.Sync.Status()
	refused := []api.Refused{}
	for _, v := range st.Refused {
		refused = append(refused, api.Refused(v))
	}
	return r.reply(fasthttp.StatusOK, api.Sync{
		Configured: true, State: string(st.State), Since: api.At(st.Since), Position: st.Done, LastLSN: st.Last, Waiting: st.Waiting,
		LagSec: s.cfg.Sync.Lag().Seconds(), PerSec: st.PerSec, SetAside: st.SetAside, Lost: st.Lost,
		Refused: refused, Error: st.Error, Advice: st.Advice, FailedAt: api.At(st.Failed), NextTryAt: api.At(st.NextTry),
	})
}

var errNoSync = &picloud.Error{Code: picloud.CodeConflict, Type: "no-database", Title: "No database is configured", Detail: "Set database.url in the configuration and restart the node."}

func (s *Server) retrySync(r *request) error {
	if s.cfg.Sync == nil {
		return errNoSync
	}
	s.cfg.Sync.Poke()
	r.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}
