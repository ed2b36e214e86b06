package httpapi

import (
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
)

// EndpointSpec says where a script answers; the name is in the address.
type EndpointSpec struct {
	Method     string  `json:"method,omitempty"` // GET if not given; * for any
	Path       string  `json:"path"`             // below /apps/{app}, such as /orders/{id}
	Script     string  `json:"script"`
	Export     string  `json:"export,omitempty"`
	Auth       string  `json:"auth,omitempty"` // key if not given, or public
	TimeoutSec float64 `json:"timeout_sec,omitempty"`
}

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

// Endpoint returns what the body says, for an endpoint of a name.
func (b *EndpointSpec) Endpoint(app, name string) (picloud.Endpoint, error) {
	if !(b.TimeoutSec >= 0 && b.TimeoutSec <= picloud.MaxEndpointTimeout.Seconds()) {
		return picloud.Endpoint{}, picloud.ErrEndpointInvalid.Detailf("timeout_sec: use 0.1 to %d", picloud.MaxEndpointTimeout/time.Second)
	}
	e := picloud.Endpoint{
		App: app, Name: name, Method: b.Method, Path: b.Path, Script: b.Script, Export: b.Export, Auth: picloud.EndpointAuth(b.Auth),
		Timeout: time.Duration(b.TimeoutSec * float64(time.Second)),
	}.WithDefaults()
	return e, e.Validate()
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
