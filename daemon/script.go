package daemon

import (
	"context"
	"log/slog"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/auth"
	"github.com/picloud/picloud/script"
	"github.com/picloud/picloud/sdk"
	"github.com/picloud/picloud/store"
)

// newScripts makes what runs scripts: workers on one side, the node as scripts see
// it on the other.
func newScripts(cfg Config, st *store.Store, publisher picloud.Publisher, authority *auth.Authority, log *slog.Logger) *script.Runner {
	mint := func(ctx context.Context, by picloud.Principal, app string, topics []string, ttl time.Duration) (string, time.Time, error) {
		t, err := authority.Mint(ctx, by, app, topics, ttl)
		return t.Text, t.ExpiresAt, err
	}
	return script.New(script.Config{
		Host:    sdk.New(sdk.Config{Store: st, Publisher: publisher, Mint: mint}),
		Record:  func(r picloud.Run) string { return st.RecordRun(r).ID },
		Workers: cfg.ScriptWorkers, NoSandbox: !cfg.ScriptSandbox, Logger: log,
	})
}
