package pgtest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Pooler starts a PgBouncer of the test's own before the server of a database, and
// returns the URL of that database through it. Its pool mode is "session" or
// "transaction". It has two sessions of the server for each database, so that clients
// meet those of others.
func Pooler(tb testing.TB, database, mode string) string {
	tb.Helper()
	u, err := url.Parse(database)
	if err != nil {
		tb.Fatal(err)
	}
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path = "/usr/sbin/pgbouncer"
	}
	if _, err := os.Stat(path); err != nil {
		tb.Fatalf("PgBouncer is needed (make install-tools installs it): %v", err)
	}
	dir, err := os.MkdirTemp("", "pgtest-") //nolint:usetesting // another user has to reach it
	if err != nil {
		tb.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		tb.Fatal(err)
	}
	server := Server{dir: dir, bin: filepath.Dir(path)}
	if err := server.unprivileged(); err != nil {
		tb.Fatal(err)
	}
	password, known := u.User.Password()
	login := "user=" + u.User.Username()
	if known {
		login += fmt.Sprintf(" password='%s'", password)
	}
	size := map[string]int{"session": 20, "transaction": 2}[mode] // in session mode each client keeps one
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil { // #nosec G306 -- another user reads it
			tb.Fatal(err)
		}
		return file
	}
	users := write("users", fmt.Sprintf("%q %q\n", u.User.Username(), password))
	config := write("config", fmt.Sprintf(`[databases]
* = host=%s port=%s %s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = trust
auth_file = %s
pool_mode = %s
default_pool_size = %d
`, u.Hostname(), or(u.Port(), "5432"), login, port, users, mode, size))
	cmd := server.command("pgbouncer", config)
	if testing.Verbose() {
		cmd.Stdout, cmd.Stderr = tb.Output(), tb.Output()
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL) // it may be gone already
		_ = cmd.Wait()                          // it was killed
		_ = os.RemoveAll(dir)
	})
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	await(tb, address)
	u.Host = address
	u.User = url.User(u.User.Username())
	return u.String()
}

// await returns when there is a listener at an address. Nothing tells when it begins.
func await(tb testing.TB, address string) {
	tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	for {
		var d net.Dialer
		if conn, err := d.DialContext(ctx, "tcp", address); err == nil {
			_ = conn.Close() // only tried
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("nothing listens at %s", address)
		}
	}
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
