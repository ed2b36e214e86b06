package pgsync

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/picloud/picloud/migrations"
)

// SchemaStatus tells the schema of a database from the one this version knows.
type SchemaStatus struct {
	Schema       string       `json:"schema"`
	Known        int          `json:"known"`         // newest version this picloud has
	Version      int          `json:"version"`       // of the database; 0: there is none
	OldestWriter int          `json:"oldest_writer"` // a picloud must know at least this version to write
	Steps        []SchemaStep `json:"steps"`
}

// SchemaStep is one migration and when it was applied; zero: not yet.
type SchemaStep struct {
	Version int       `json:"version"`
	Name    string    `json:"name"`
	Applied time.Time `json:"applied_at,omitzero"`
}

// Pending reports whether there are migrations to apply.
func (st *SchemaStatus) Pending() bool { return st.Version < st.Known }

// Usable returns nil when this version can write to the database.
func (st *SchemaStatus) Usable() error {
	switch {
	case st.Version < st.Known:
		return advise("run 'picloud migrate up' with a role that may create tables", "the schema %q is at version %d, this picloud needs %d", st.Schema, st.Version, st.Known)
	case st.OldestWriter > st.Known:
		return advise("install a newer one; until then everything is kept here", "the schema %q is at version %d, which this picloud does not know (it has %d)", st.Schema, st.Version, st.Known)
	}
	return nil
}

// MigrateStatus looks at the schema of a database and changes nothing.
func MigrateStatus(ctx context.Context, cfg Config) (SchemaStatus, error) {
	return withMigrator(ctx, cfg, func(m *migrator) (SchemaStatus, error) { return m.status(ctx) })
}

// MigrateUp applies what the database lacks. A newer schema is left alone.
func MigrateUp(ctx context.Context, cfg Config) (SchemaStatus, error) {
	return withMigrator(ctx, cfg, func(m *migrator) (SchemaStatus, error) { return m.up(ctx, cfg.withDefaults().Logger) })
}

func withMigrator(ctx context.Context, cfg Config, fn func(*migrator) (SchemaStatus, error)) (SchemaStatus, error) {
	cfg = cfg.withDefaults()
	conn, err := connect(ctx, &cfg)
	if err != nil {
		return SchemaStatus{}, err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing is lost with it
	return fn(&migrator{conn: conn, schema: cfg.Schema})
}

// migrator applies migrations to one schema.
type migrator struct {
	conn   *pgx.Conn
	schema string
}

func (m *migrator) status(ctx context.Context) (SchemaStatus, error) {
	all := migrations.All()
	st := SchemaStatus{Schema: m.schema, Known: len(all)}
	for _, mig := range all {
		st.Steps = append(st.Steps, SchemaStep{Version: mig.Version, Name: mig.Name})
	}
	prefix := pgx.Identifier{m.schema}.Sanitize()
	rows, err := m.conn.Query(ctx, "SELECT version, name, applied_at FROM "+prefix+".migrations ORDER BY version")
	if err == nil {
		var step SchemaStep
		_, err = pgx.ForEachRow(rows, []any{&step.Version, &step.Name, &step.Applied}, func() error {
			st.Version = step.Version
			if step.Version <= len(st.Steps) {
				st.Steps[step.Version-1].Applied = step.Applied
			} else {
				st.Steps = append(st.Steps, step)
			}
			return nil
		})
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && (pg.Code == codeNoSchema || pg.Code == codeNoTable) {
		return st, nil
	}
	if err != nil {
		return st, classify("look at the schema", err)
	}
	if st.Version > 0 {
		err = m.conn.QueryRow(ctx, "SELECT value::int FROM "+prefix+".settings WHERE name = 'oldest_writer'").Scan(&st.OldestWriter)
	}
	return st, classify("look at the schema", err)
}

// up applies the missing migrations in one transaction, one process at a time.
func (m *migrator) up(ctx context.Context, log *slog.Logger) (SchemaStatus, error) {
	prefix := pgx.Identifier{m.schema}.Sanitize()
	tx, err := m.conn.Begin(ctx)
	if err != nil {
		return SchemaStatus{}, classify("migrate", err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // nothing to do when it was committed
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('picloud migrate'), hashtext($1))", m.schema); err != nil {
		return SchemaStatus{}, classify("migrate", err)
	}
	st, err := m.statusIn(ctx, tx)
	if err != nil || !st.Pending() {
		return st, err
	}
	_, err = tx.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+prefix+"; SET LOCAL search_path = "+prefix+", pg_temp; "+createMigrations, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return st, classify("migrate", err)
	}
	for _, mig := range migrations.All()[st.Version:] {
		if _, err := tx.Exec(ctx, mig.SQL, pgx.QueryExecModeSimpleProtocol); err != nil {
			return st, classify("migrate: "+mig.Name, err)
		}
		if _, err := tx.Exec(ctx, "INSERT INTO migrations (version, name) VALUES ($1, $2)", mig.Version, mig.Name); err != nil {
			return st, classify("migrate: "+mig.Name, err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return st, classify("migrate", err)
	}
	log.Info("schema migrated", slog.String("schema", m.schema), slog.Int("from", st.Version), slog.Int("to", st.Known))
	return m.status(ctx)
}

// statusIn is status within a transaction that a missing table must not end.
func (m *migrator) statusIn(ctx context.Context, tx pgx.Tx) (SchemaStatus, error) {
	var there bool
	err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", pgx.Identifier{m.schema, "migrations"}.Sanitize()).Scan(&there)
	if err != nil {
		return SchemaStatus{}, classify("look at the schema", err)
	}
	if !there {
		return SchemaStatus{Schema: m.schema, Known: len(migrations.All())}, nil
	}
	return m.status(ctx)
}

const createMigrations = `CREATE TABLE IF NOT EXISTS migrations (
	version    int PRIMARY KEY,
	name       text NOT NULL,
	applied_at timestamptz NOT NULL DEFAULT now(),
	applied_by text NOT NULL DEFAULT current_user
);
COMMENT ON TABLE migrations IS 'Which steps this schema has been through; picloud migrate status';
COMMENT ON COLUMN migrations.version IS 'Number of the step';
COMMENT ON COLUMN migrations.name IS 'Its name';
COMMENT ON COLUMN migrations.applied_at IS 'When it was applied';
COMMENT ON COLUMN migrations.applied_by IS 'By which role';`
