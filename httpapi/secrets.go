package httpapi

import (
	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud/api"
)

func (s *Server) listSecrets(r *request) error {
	list, err := s.cfg.Store.Secrets(r.param("app"))
	if err != nil {
		return err
	}
	out := api.Secrets{Secrets: make([]api.Secret, len(list))}
	for i := range list {
		out.Secrets[i] = api.Secret{Name: list[i].Name, UpdatedAt: api.At(list[i].UpdatedAt)}
	}
	return r.reply(fasthttp.StatusOK, out)
}

func (s *Server) setSecret(r *request) error {
	var b api.SecretValue
	if err := r.decode(&b, false); err != nil {
		return err
	}
	sec, err := s.cfg.Store.SetSecret(r.patience(), r.param("app"), r.param("secret"), []byte(b.Value))
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, api.Secret{Name: sec.Name, UpdatedAt: api.At(sec.UpdatedAt)})
}

func (s *Server) deleteSecret(r *request) error {
	if err := s.cfg.Store.DeleteSecret(r.patience(), r.param("app"), r.param("secret")); err != nil {
		return err
	}
	return r.done()
}
