package pgsync_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/migrations"
	"github.com/picloud/picloud/pgsync"
	"github.com/picloud/picloud/pgsync/pgtest"
)

var update = flag.Bool("update", false, "write testdata/schema.golden anew")

func urlOf(url string) pgsync.Config {
	return pgsync.Config{URL: func() (string, error) { return url, nil }}
}

// describeSQL lists a schema: columns, constraints, indexes, functions, views.
const describeSQL = `
SELECT line FROM (
	SELECT 1 AS part, c.relname AS a, a.attnum::int AS b, format('column %s.%s %s%s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
		CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END, coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')) AS line
	FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
	WHERE c.relnamespace = 'picloud'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND a.attnum > 0 AND NOT c.relispartition
	UNION ALL
	SELECT 2, conrelid::regclass::text, 0, format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid))
	FROM pg_constraint WHERE connamespace = 'picloud'::regnamespace AND conparentid = 0 AND contype <> 'n'
	UNION ALL
	SELECT 3, indexname, 0, indexdef FROM pg_indexes WHERE schemaname = 'picloud' AND tablename !~ '_(\d{4}_\d{2}|default)$'
	UNION ALL
	SELECT 4, proname, 0, format('function %s(%s) %s', proname, pg_get_function_arguments(oid), CASE WHEN prosecdef THEN 'SECURITY DEFINER' ELSE '' END)
	FROM pg_proc WHERE pronamespace = 'picloud'::regnamespace
) x ORDER BY part, a, b, line`

// PG-3: the migrations result in exactly this schema, and everything a person
// sees in psql has a comment (PG-6).
func TestSchemaIsTheOneThatIsPinned(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	if _, err := pgsync.MigrateUp(t.Context(), urlOf(url)); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(pgtest.Query(t, url, describeSQL), "\n") + "\n"
	const golden = "testdata/schema.golden"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the schema has changed; if that is meant, add a migration and run the test with -update\ngot\n%s\nwant\n%s", got, want)
	}
	bare := pgtest.Query(t, url, `SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.relnamespace = 'picloud'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT c.relispartition
		AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid) IS NULL)`)
	if len(bare) > 0 {
		t.Errorf("no comment on %v", bare)
	}
}

// PG-3: any number of nodes migrate at the same time, once; nothing happens to a
// schema that is newer.
func TestMigrationsRunOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	if st, err := pgsync.MigrateStatus(t.Context(), urlOf(url)); err != nil || st.Version != 0 || !st.Pending() || st.Usable() == nil {
		t.Errorf("before: %+v, %v", st, err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if st, err := pgsync.MigrateUp(t.Context(), urlOf(url)); err != nil || st.Pending() || st.Usable() != nil {
				t.Errorf("%+v, %v", st, err)
			}
		})
	}
	wg.Wait()
	same(t, pgtest.Query(t, url, "SELECT count(*) = max(version) FROM picloud.migrations"), []string{"true"})
	pgtest.Exec(t, url, "INSERT INTO picloud.migrations (version, name) VALUES (99, '0099_from_the_future')")
	st, err := pgsync.MigrateUp(t.Context(), urlOf(url))
	if err != nil || st.Version != 99 || st.Steps[len(st.Steps)-1].Name != "0099_from_the_future" || st.Usable() != nil {
		t.Errorf("newer: %+v, %v", st, err)
	}
}

// PG-3: a database of the first schema is brought up to date: the auth modes there
// are stay, one that no picloud knows becomes the mode that lets in fewer, and is
// admitted no more.
func TestAuthModesThereAre(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	pgtest.Exec(t, url, "CREATE SCHEMA picloud; SET search_path = picloud; "+migrations.All()[0].SQL+`
		CREATE TABLE migrations (version int PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(), applied_by text NOT NULL DEFAULT current_user);
		INSERT INTO migrations (version, name) VALUES (1, '0001_first');
		INSERT INTO nodes (id, name, version, epoch, incarnation, recovery) VALUES ('n', 'n', '1', 'e', 1, '')`)
	topic := func(name, mode string) string {
		return "INSERT INTO picloud.topics VALUES ('n', 'default', '" + name + "', '', true, '" + mode + "', 'sync', 0, 0, 0, now(), now())"
	}
	for _, mode := range []string{"public", "token", "session"} {
		pgtest.Exec(t, url, topic(mode, mode))
	}
	if st, err := pgsync.MigrateUp(t.Context(), urlOf(url)); err != nil || st.Pending() || st.Usable() != nil {
		t.Fatalf("%+v, %v", st, err)
	}
	same(t, pgtest.Query(t, url, "SELECT name, auth_mode FROM picloud.topics ORDER BY name"), []string{"public public", "session token", "token token"})
	conn := pgtest.Connect(t, url)
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), topic("later", "session")); err == nil || !strings.Contains(err.Error(), "23514") {
		t.Errorf("an auth mode of later: %v", err)
	}
}

// PG-6: a node works with the role that docs/postgres.md describes, in a schema
// of another name, and cannot do more.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "fsync=off")
	url := server.Database(t)
	doc, err := os.ReadFile("../docs/postgres.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```sql\n(CREATE ROLE.*?)```").FindSubmatch(doc)
	if block == nil {
		t.Fatal("docs/postgres.md has no such block")
	}
	if _, err := pgsync.MigrateUp(t.Context(), urlOf(url)); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, string(block[1]))
	asNode := strings.Replace(url, "postgres@", "picloud_node@", 1)
	n := start(t, t.TempDir(), asNode, func(pc *pgsync.Config, dc *dispatch.Config) { pc.Migrate = false })
	pgtest.Exec(t, url, `ALTER TABLE picloud.events ADD CONSTRAINT harmless CHECK (topic <> 'bad')`)
	exercise(t, n)
	n.drained(t)
	n.lane.Poke()
	same(t, copied(t, url), published(t, n, "a"))
	if got := pgtest.Query(t, url, "SELECT count(*) FROM picloud.set_aside"); got[0] != "1" {
		t.Errorf("set aside: %v", got)
	}
	restore(t, asNode, "pi", n.RecoveryKey(), keepAll)
	conn := pgtest.Connect(t, asNode)
	defer conn.Close(t.Context())
	for _, sql := range []string{"DELETE FROM picloud.events", "DROP TABLE picloud.events", "CREATE TABLE picloud.x ()", "UPDATE picloud.settings SET value = ''"} {
		if _, err := conn.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// exercise lets every statement of the copy run.
func exercise(t *testing.T, n *node) {
	t.Helper()
	if _, err := n.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "gone"}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.EnsureSigningKey(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.RotateSigningKey(t.Context(), "default", 0); err != nil {
		t.Fatal(err)
	}
	n.publish(t, "a", "1", "2")
	n.publish(t, "bad", `"\u0000"`)
	if err := n.DeleteTopic(t.Context(), "default", "gone"); err != nil {
		t.Fatal(err)
	}
}

// PG-6: a server is known by its certificate, and another one is refused.
func TestVerifyFull(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "fsync=off")
	url := server.Database(t)
	dir := server.Dir()
	certificate(t, filepath.Join(dir, "server"), "localhost")
	pgtest.Exec(t, url, "ALTER SYSTEM SET ssl = on")
	server.Stop()
	server.Start(t)
	other := filepath.Join(t.TempDir(), "other")
	certificate(t, other, "localhost")
	secure := strings.Replace(strings.Replace(url, "127.0.0.1", "localhost", 1), "sslmode=disable", "sslmode=verify-full&sslrootcert=", 1)
	n := start(t, t.TempDir(), secure+other+".crt")
	n.until(t, "a server with another certificate is refused", waiting("certificate"))
	n.stop()
	n = start(t, t.TempDir(), strings.Replace(secure, "localhost", "127.0.0.1", 1)+dir+"/server.crt")
	n.until(t, "a server of another name is refused", waiting("certificate"))
	n.stop()
	n = start(t, t.TempDir(), secure+dir+"/server.crt")
	n.publish(t, "a", "1")
	n.drained(t)
	same(t, pgtest.Query(t, url, "SELECT count(*) FROM picloud.events"), []string{"1"})
	same(t, pgtest.Query(t, url, "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'picloud'"), []string{"true"})
}

// certificate makes a key and a certificate that signs itself.
func certificate(t *testing.T, path, name string) {
	t.Helper()
	out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
		"-keyout", path+".key", "-out", path+".crt", "-subj", "/CN="+name, "-addext", "subjectAltName=DNS:"+name).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("chown", "--reference="+filepath.Dir(path), path+".key", path+".crt").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
