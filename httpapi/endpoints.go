package httpapi

import (
	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

func endpointBody(e *picloud.Endpoint) api.Endpoint {
	return api.Endpoint{
		Name: e.Name, CreatedAt: api.At(e.CreatedAt), UpdatedAt: api.At(e.UpdatedAt),
		EndpointSpec: api.EndpointSpec{Method: e.Method, Path: e.Path, Script: e.Script, Export: e.Export, Auth: string(e.Auth), TimeoutSec: e.Timeout.Seconds()},
	}
}

func (s *Server) listEndpoints(r *request) error {
	list, err := s.cfg.Store.Endpoints(r.param("app"))
	if err != nil {
		return err
	}
	out := api.Endpoints{Endpoints: make([]api.Endpoint, len(list))}
	for i := range list {
		out.Endpoints[i] = endpointBody(&list[i])
	}
	return r.reply(fasthttp.StatusOK, out)
}

func (s *Server) showEndpoint(r *request) error {
	e, err := s.cfg.Store.Endpoint(r.param("app"), r.param("endpoint"))
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, endpointBody(&e))
}

func (s *Server) saveEndpoint(r *request) error {
	var b api.EndpointSpec
	if err := r.decode(&b, false); err != nil {
		return err
	}
	e, err := b.Endpoint(r.param("app"), r.param("endpoint"))
	if err != nil {
		return err
	}
	if e, err = s.cfg.Store.SaveEndpoint(r.patience(), e); err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, endpointBody(&e))
}

func (s *Server) deleteEndpoint(r *request) error {
	if err := s.cfg.Store.DeleteEndpoint(r.patience(), r.param("app"), r.param("endpoint")); err != nil {
		return err
	}
	return r.done()
}
