package httpapi

import (
	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/provision"
)

// EndpointSpec says where a script answers; the name is in the address.
type EndpointSpec = provision.EndpointSpec

// Endpoint is a place where a script answers.
type Endpoint struct {
	Name string `json:"name"`
	EndpointSpec
	CreatedAt Time `json:"created_at"`
	UpdatedAt Time `json:"updated_at"`
}

// Endpoints is a list of endpoints.
type Endpoints struct {
	Endpoints []Endpoint `json:"endpoints"`
}

func endpointBody(e *picloud.Endpoint) Endpoint {
	return Endpoint{
		Name: e.Name, CreatedAt: Time{e.CreatedAt}, UpdatedAt: Time{e.UpdatedAt},
		EndpointSpec: EndpointSpec{Method: e.Method, Path: e.Path, Script: e.Script, Export: e.Export, Auth: string(e.Auth), TimeoutSec: e.Timeout.Seconds()},
	}
}

func (s *Server) listEndpoints(r *request) error {
	list, err := s.cfg.Store.Endpoints(r.param("app"))
	if err != nil {
		return err
	}
	out := Endpoints{Endpoints: make([]Endpoint, len(list))}
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
	var b EndpointSpec
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
