package httpapi

import (
	"math"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/check"
)

func keyBody(k picloud.APIKey) api.Key {
	b := api.Key{ID: k.ID, Label: k.Label, CreatedAt: api.At(k.CreatedAt), ExpiresAt: api.At(k.ExpiresAt), LastUsedAt: api.At(k.LastUsedAt), Scopes: []string{}}
	if k.App != "" {
		b.App = &k.App
	}
	for _, s := range k.Scopes {
		b.Scopes = append(b.Scopes, string(s))
	}
	return b
}

// manages answers whether p manages the keys of an app, or of the instance when
// app is empty.
func manages(p picloud.Principal, app string) bool {
	if app == "" {
		return picloud.Can(p, picloud.InstanceManage, "")
	}
	return picloud.Can(p, picloud.AppKeyManage, app)
}

// keyManager returns the caller when it manages keys anywhere.
func (s *Server) keyManager(r *request) (picloud.Principal, error) {
	p, err := s.who(r)
	if err != nil {
		return p, err
	}
	if p.Kind == picloud.KindAnonymous {
		return p, picloud.ErrUnauthenticated
	}
	if !manages(p, p.App) {
		if p.App != "" || !picloud.Can(p, picloud.AppKeyManage, picloud.DefaultApp) {
			return p, picloud.ErrForbidden.Detailf("this needs a key with the scope %s or %s", picloud.ScopeAppAdmin, picloud.ScopeInstanceAdmin)
		}
	}
	return p, nil
}

func (s *Server) listKeys(r *request) error {
	p, err := s.keyManager(r)
	if err != nil {
		return err
	}
	list := api.Keys{Keys: []api.Key{}}
	for _, k := range s.cfg.Store.APIKeys() {
		if manages(p, k.App) {
			list.Keys = append(list.Keys, keyBody(k))
		}
	}
	return r.reply(fasthttp.StatusOK, list)
}

func (s *Server) createKey(r *request) error {
	p, err := s.keyManager(r)
	if err != nil {
		return err
	}
	var b api.NewKey
	if err := r.decode(&b, false); err != nil {
		return err
	}
	if b.App == "" {
		b.App = p.App
	}
	draft := picloud.APIKey{Label: b.Label, App: b.App}
	for _, scope := range b.Scopes {
		draft.Scopes = append(draft.Scopes, picloud.Scope(scope))
	}
	if b.App != "" && !picloud.CanSee(p, b.App) {
		return picloud.ErrAppNotFound
	}
	if err := check.APIKey(draft); err != nil {
		return err
	}
	if !manages(p, b.App) {
		return picloud.ErrForbidden.Detailf("a key for the whole instance needs the scope %s; give an app", picloud.ScopeInstanceAdmin)
	}
	now := s.cfg.Store.Now()
	switch {
	case b.ExpiresAt != nil && b.TTLSec != 0:
		return picloud.ErrKeyInvalid.Detailf("use ttl_sec or expires_at, not both")
	case b.TTLSec < 0 || b.TTLSec > math.MaxInt32:
		return picloud.ErrKeyInvalid.Detailf("ttl_sec: use a positive number of seconds")
	case b.TTLSec > 0:
		draft.ExpiresAt = now.Add(time.Duration(b.TTLSec) * time.Second).UTC().Truncate(time.Microsecond)
	case b.ExpiresAt != nil && !b.ExpiresAt.After(now):
		return picloud.ErrKeyInvalid.Detailf("expires_at is in the past")
	case b.ExpiresAt != nil:
		draft.ExpiresAt = b.ExpiresAt.UTC().Truncate(time.Microsecond)
	}
	if !p.Expires.IsZero() && (draft.ExpiresAt.IsZero() || draft.ExpiresAt.After(p.Expires)) {
		draft.ExpiresAt = p.Expires // a key makes none that outlives it
	}
	k, text, err := s.cfg.Authority.IssueKey(r.patience(), draft)
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusCreated, api.CreatedKey{Key: keyBody(k), Text: text})
}

func (s *Server) revokeKey(r *request) error {
	p, err := s.keyManager(r)
	if err != nil {
		return err
	}
	k, ok := s.cfg.Store.APIKey(r.param("id"))
	if !ok || !manages(p, k.App) {
		return picloud.ErrKeyNotFound
	}
	if err := s.cfg.Store.RevokeAPIKey(r.patience(), k.ID); err != nil {
		return err
	}
	return r.done()
}
