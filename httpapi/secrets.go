package httpapi

import (
	"github.com/valyala/fasthttp"
)

// Secret is a secret without its value, which the API never tells.
type Secret struct {
	Name      string `json:"name"`
	UpdatedAt Time   `json:"updated_at"`
}

// Secrets is a list of secrets.
type Secrets struct {
	Secrets []Secret `json:"secrets"`
}

// SecretValue sets a secret.
type SecretValue struct {
	Value string `json:"value"`
}

func (s *Server) listSecrets(r *request) error {
	list, err := s.cfg.Store.Secrets(r.param("app"))
	if err != nil {
		return err
	}
	out := Secrets{Secrets: make([]Secret, len(list))}
	for i := range list {
		out.Secrets[i] = Secret{Name: list[i].Name, UpdatedAt: Time{list[i].UpdatedAt}}
	}
	return r.reply(fasthttp.StatusOK, out)
}

func (s *Server) setSecret(r *request) error {
	var b SecretValue
	if err := r.decode(&b, false); err != nil {
		return err
	}
	sec, err := s.cfg.Store.SetSecret(r.patience(), r.param("app"), r.param("secret"), []byte(b.Value))
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, Secret{Name: sec.Name, UpdatedAt: Time{sec.UpdatedAt}})
}

func (s *Server) deleteSecret(r *request) error {
	if err := s.cfg.Store.DeleteSecret(r.patience(), r.param("app"), r.param("secret")); err != nil {
		return err
	}
	return r.done()
}
