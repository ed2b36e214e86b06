package httpapi

import (
	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

func appBody(a picloud.App) api.App {
	if a.AllowedOrigins == nil {
		a.AllowedOrigins = []string{}
	}
	return api.App{Name: a.Name, Description: a.Description, AllowedOrigins: a.AllowedOrigins, CreatedAt: api.At(a.CreatedAt), UpdatedAt: api.At(a.UpdatedAt)}
}

func (s *Server) listApps(r *request) error {
	p, err := s.who(r)
	if err != nil {
		return err
	}
	if p.Kind == picloud.KindAnonymous {
		return picloud.ErrUnauthenticated
	}
	list := api.Apps{Apps: []api.App{}}
	for _, a := range s.cfg.Store.Apps() {
		if picloud.CanSee(p, a.Name) {
			list.Apps = append(list.Apps, appBody(a))
		}
	}
	return r.reply(fasthttp.StatusOK, list)
}

func (s *Server) createApp(r *request) error {
	var b api.NewApp
	if err := r.decode(&b, false); err != nil {
		return err
	}
	a, err := s.cfg.Store.CreateApp(r.patience(), picloud.App{Name: b.Name, Description: b.Description, AllowedOrigins: b.AllowedOrigins})
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusCreated, appBody(a))
}

func (s *Server) showApp(r *request) error {
	a, err := s.cfg.Store.App(r.param("app"))
	if err != nil {
		return err
	}
	usage, err := s.cfg.Store.Usage(a.Name)
	if err != nil {
		return err
	}
	b := appBody(a)
	b.Usage = usageBody(usage)
	return r.reply(fasthttp.StatusOK, b)
}

func (s *Server) updateApp(r *request) error {
	var b api.AppPatch
	if err := r.decode(&b, false); err != nil {
		return err
	}
	a, err := s.cfg.Store.UpdateApp(r.patience(), r.param("app"), picloud.AppPatch(b))
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, appBody(a))
}

func (s *Server) deleteApp(r *request) error {
	if err := s.cfg.Store.DeleteApp(r.patience(), r.param("app")); err != nil {
		return err
	}
	return r.done()
}
