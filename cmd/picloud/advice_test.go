package main

import (
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/pgsync/pgtest"
)

// OP-1, PG-2: doctor and 'sync status' say the one thing to do about each fault of the
// copy, and name the records that Postgres refuses.
func TestWhatToDoAboutTheCopyIsSaid(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "fsync=off")
	for name, c := range map[string]struct{ fault, says, fix string }{
		"tables dropped":     {"DROP TABLE picloud.events", "does not exist", "Drop the whole schema"},
		"read-only server":   {"ALTER DATABASE @ SET default_transaction_read_only = on", "read-only", "target_session_attrs=read-write"},
		"newer schema":       {"INSERT INTO picloud.migrations (version, name) VALUES (99, 'x'); UPDATE picloud.settings SET value = '99' WHERE name = 'oldest_writer'", "at version 99", "Install a newer one"},
		"restored elsewhere": {"UPDATE picloud.nodes SET incarnation = 7, session = 'x'", "this is an old card", "Take this card out of service"},
		"a copy of the card": {"UPDATE picloud.nodes SET session = 'x'", "copies of each other", "'picloud node new-identity'"},
		"role without rights": {
			"CREATE ROLE small LOGIN; ALTER ROLE postgres IN DATABASE @ SET role = 'small'",
			"permission denied", "docs/postgres.md",
		},
		"value that is refused": {"ALTER TABLE picloud.kv ADD CONSTRAINT small CHECK (length(value::text) < 10)", `kv "lamp/1" of app "default"`, "set_aside"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := server.Database(t)
			cfg := newConfig(t)
			cfg.DatabaseURL = url
			t.Cleanup(runNode(t, cfg))
			ok(t, cfg, "sync", "wait", "--timeout", "30s")
			database := pgtest.Query(t, url, "SELECT current_database()")[0]
			pgtest.Exec(t, url, strings.ReplaceAll(c.fault, "@", database)+"; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
			ok(t, cfg, "kv", "set", "lamp/1", `"a value that is long"`)
			ok(t, cfg, "sync", "retry")
			tick := time.NewTicker(50 * time.Millisecond) // the node tries again when it likes
			defer tick.Stop()
			deadline := time.After(30 * time.Second)
			for {
				f := examined(t, cfg)["postgres"]
				status := ok(t, cfg, "sync", "status")
				if !f.OK && strings.Contains(f.Says, c.says) && strings.Contains(strings.ToLower(f.Fix), strings.ToLower(c.fix)) && strings.Contains(status, c.says) &&
					strings.Contains(strings.ToLower(status), strings.ToLower(c.fix)) {
					return
				}
				select {
				case <-tick.C:
				case <-deadline:
					t.Fatalf("doctor says %+v, status\n%s", f, status)
				}
			}
		})
	}
}
