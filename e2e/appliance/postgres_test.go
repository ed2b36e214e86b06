package appliance

import (
	"os/exec"
	"path/filepath"
	"strings"
)

// copies: the copy goes to a real Postgres, by TCP with a password that is in a credential,
// and by a Unix socket whose other end sees the node's user.
func (a appliance) copies() {
	programs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(programs) != 1 {
		a.Fatalf("postgres is not there: %v, %v", programs, err)
	}
	bin, dir := programs[0], "/run/appliance/postgres"
	a.command("install", "-d", "-o", "postgres", dir, "/run/postgresql")
	asPostgres := func(args ...string) string {
		a.Helper()
		return a.command("setpriv", append([]string{"--reuid=postgres", "--regid=postgres", "--init-groups"}, args...)...)
	}
	asPostgres(bin+"/initdb", "-D", dir+"/data", "--auth-local=peer", "--auth-host=scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
	a.command("systemd-run", "-q", "--unit=postgres", "-p", "User=postgres", bin+"/postgres", "-D", dir+"/data", "-k", "/run/postgresql",
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=32MB")
	defer func() { a.command("systemctl", "stop", "postgres.service") }()
	a.until("Postgres", func() bool { return exec.Command(bin+"/pg_isready", "-q", "-h", "/run/postgresql").Run() == nil })
	asPostgres("psql", "-q", "-c", "CREATE ROLE picloud LOGIN PASSWORD 'swordfish'", "-c", "CREATE DATABASE picloud OWNER picloud")

	a.write("/run/appliance/database.url", "postgres://picloud:swordfish@127.0.0.1/picloud?sslmode=disable\n")
	a.command("chmod", "600", "/run/appliance/database.url")
	const dropIn = "20-database.conf"
	for _, way := range []struct{ name, dropIn, config string }{
		{"tcp", "[Service]\nLoadCredential=database:/run/appliance/database.url\nEnvironment=PICLOUD_DATABASE_URL_FILE=%d/database\n", ""},
		{"socket", "[Service]\n", "database.url = \"postgres:///picloud?host=/run/postgresql\"\n"},
	} {
		a.configure(way.config)
		a.dropIn(dropIn, way.dropIn)
		a.command("systemctl", "restart", "picloud.service")
		a.cli("publish", "copied", `"`+way.name+`"`)
		a.cli("sync", "wait")
		rows := asPostgres("psql", "-At", "-d", "picloud", "-c", "SELECT data FROM picloud.events WHERE topic = 'copied' ORDER BY seq")
		if !strings.HasSuffix(rows, `"`+way.name+`"`) {
			a.Errorf("by %s there is %q in Postgres", way.name, rows)
		}
		a.statusHas("copy up to date")
	}
	clients := asPostgres("psql", "-At", "-c", "SELECT DISTINCT usename, client_addr IS NULL FROM pg_stat_activity WHERE datname = 'picloud'")
	if clients != "picloud|t" {
		a.Errorf("connected are %q", clients)
	}
	a.dropIn(dropIn, "")
	a.configure("")
	a.command("systemctl", "restart", "picloud.service")
}
