package httpapi

import "github.com/valyala/fasthttp"

func (s *Server) showBoard(r *request) error {
	return r.reply(fasthttp.StatusOK, s.cfg.Monitor.Report())
}

func (s *Server) showHeader(r *request) error {
	return r.reply(fasthttp.StatusOK, s.cfg.Monitor.Header())
}
