package httpapi

import (
	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud/api"
)

func (s *Server) showRecoveryKey(r *request) error {
	r.Response.Header.Set("Cache-Control", "no-store")
	return r.reply(fasthttp.StatusOK, api.RecoveryKey{Text: api.FormatRecoveryKey(s.cfg.Store.RecoveryKey())})
}
