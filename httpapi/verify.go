package httpapi

import (
	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

func (s *Server) showVerification(r *request) error {
	if s.cfg.Scrubber == nil {
		return picloud.ErrReadOnly
	}
	return s.replyVerification(r, fasthttp.StatusOK)
}

func (s *Server) startVerification(r *request) error {
	if s.cfg.Scrubber == nil {
		return picloud.ErrReadOnly
	}
	s.cfg.Scrubber.Start()
	return s.replyVerification(r, fasthttp.StatusAccepted)
}

func (s *Server) replyVerification(r *request, status int) error {
	st := s.cfg.Scrubber.Status()
	v := st.Verified
	out := api.Verification{
		Running: st.Running, StartedAt: api.At(st.Started), EndedAt: api.At(st.Ended), Error: st.Error,
		Records: v.Records, Rows: v.Rows, Files: v.Files, Bytes: v.Bytes, Damaged: v.Damaged,
		NotCompared: st.NotCompared,
	}
	if c := st.Compared; c != nil {
		out.Compared = &api.Comparison{Things: c.Things, Lost: some(c.Lost), Missing: some(c.Missing)}
	}
	return r.reply(status, out)
}

// some are the first of a list; never null.
func some(list []string) []string {
	const most = 100
	return append([]string{}, list[:min(len(list), most)]...)
}
