package httpapi

import (
	"math"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

func (s *Server) mintToken(r *request) error {
	var b api.NewToken
	if err := r.decode(&b, false); err != nil {
		return err
	}
	if b.TTLSec < 0 || b.TTLSec > math.MaxInt32 {
		return picloud.ErrTokenRequestInvalid.Detailf("ttl_sec: use a positive number of seconds, or leave it out")
	}
	t, err := s.cfg.Authority.Mint(r.patience(), r.principal, r.param("app"), b.Topics, time.Duration(b.TTLSec)*time.Second)
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusCreated, api.Token{Token: t.Text, ExpiresAt: api.At(t.ExpiresAt), Topics: t.Topics})
}

func signingKeyBody(k picloud.SigningKey) api.SigningKey {
	return api.SigningKey{ID: k.ID, CreatedAt: api.At(k.CreatedAt), RetiresAt: api.At(k.RetiresAt), Current: k.RetiresAt.IsZero()}
}

func (s *Server) listSigningKeys(r *request) error {
	list := api.SigningKeys{SigningKeys: []api.SigningKey{}}
	for _, k := range s.cfg.Store.SigningKeys(r.param("app")) {
		list.SigningKeys = append(list.SigningKeys, signingKeyBody(k))
	}
	return r.reply(fasthttp.StatusOK, list)
}

func (s *Server) ensureSigningKey(r *request) error {
	k, err := s.cfg.Store.EnsureSigningKey(r.patience(), r.param("app"))
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusCreated, signingKeyBody(k))
}

// defaultOverlap is how long the old signing key stays valid when a rotation
// does not say.
const defaultOverlap = time.Hour

func (s *Server) rotateSigningKey(r *request) error {
	var b api.Rotation
	if err := r.decode(&b, true); err != nil {
		return err
	}
	overlap := defaultOverlap
	if b.OverlapSec != nil {
		if *b.OverlapSec < 0 || *b.OverlapSec > int64((30*24*time.Hour)/time.Second) {
			return picloud.ErrKeyInvalid.Detailf("overlap_sec: use 0 (at once) to %d (30 days)", int64((30*24*time.Hour)/time.Second))
		}
		overlap = time.Duration(*b.OverlapSec) * time.Second
	}
	k, err := s.cfg.Store.RotateSigningKey(r.patience(), r.param("app"), overlap)
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusCreated, signingKeyBody(k))
}
