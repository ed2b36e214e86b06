package pgsync

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// importKeys brings the signing keys of this node's apps here, those of other
// nodes included, so that a token minted there opens a stream here, even when
// the database is away.
func (s *Sync) importKeys(ctx context.Context) error {
	rows, err := s.conn.Query(ctx, s.q(`SELECT app, key_id, secret, created_at, retires_at, node_id = $1 FROM @app_secrets
		WHERE app IN (SELECT name FROM @apps WHERE node_id = $1) ORDER BY app, key_id`), s.cfg.Local.Node().ID)
	if err != nil {
		return classify("read the signing keys", err)
	}
	var keys []picloud.SigningKey
	var k picloud.SigningKey
	var secret []byte
	var retires *time.Time
	var mine bool
	own := map[string]bool{}
	_, err = pgx.ForEachRow(rows, []any{&k.App, &k.ID, &secret, &k.CreatedAt, &retires, &mine}, func() error {
		v := picloud.SigningKey{App: k.App, ID: k.ID, CreatedAt: k.CreatedAt.UTC(), RetiresAt: orZero(retires)}
		copy(v.Secret[:], secret)
		own[v.ID] = mine
		keys = append(keys, v)
		return nil
	})
	if err != nil {
		return classify("read the signing keys", err)
	}
	if err := s.cfg.Local.ShareKeys(ctx, keys, own); err != nil {
		return err
	}
	s.mu.Lock()
	close(s.imported)
	s.imported = make(chan struct{})
	s.mu.Unlock()
	return nil
}

// Imported returns a channel that is closed when signing keys are next brought
// here. Anybody may call it.
func (s *Sync) Imported() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.imported
}
