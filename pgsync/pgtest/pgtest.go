// Package pgtest gives tests a real PostgreSQL: the one that DATABASE_URL names,
// or a cluster of their own that is thrown away. It holds no stand-in for one.
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Database returns the URL of a new, empty database, which goes with the test.
// All tests of a process share one server, which forgets everything in a crash:
// for benchmarks and for tests of crashes there is Start.
func Database(tb testing.TB) string {
	tb.Helper()
	base := os.Getenv("DATABASE_URL")
	if base == "" {
		base = shared(tb)
	}
	return create(tb, base)
}

// create makes a database with a name of its own.
func create(tb testing.TB, base string) string {
	tb.Helper()
	var b [6]byte
	_, _ = rand.Read(b[:]) // documented never to fail
	name := "picloud_test_" + hex.EncodeToString(b[:])
	Exec(tb, base, "CREATE DATABASE "+name)
	tb.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), base)
		if err != nil {
			return // the server is gone, and the database with it
		}
		defer func() { _ = conn.Close(context.Background()) }() // nothing is lost with it
		_, _ = conn.Exec(context.Background(), "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	})
	u, err := url.Parse(base)
	if err != nil {
		tb.Fatalf("DATABASE_URL: write it as postgres://user@host/database: %v", err)
	}
	u.Path = "/" + name
	return u.String()
}

// Exec runs statements.
func Exec(tb testing.TB, url, sql string) {
	tb.Helper()
	conn := Connect(tb, url)
	defer func() { _ = conn.Close(context.Background()) }() // nothing is lost with it
	if _, err := conn.Exec(tb.Context(), sql); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

// Connect opens a connection.
func Connect(tb testing.TB, url string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), url)
	if err != nil {
		tb.Fatal(err)
	}
	return conn
}

// Query returns one line for each row, with columns joined by a space.
func Query(tb testing.TB, url, sql string, args ...any) []string {
	tb.Helper()
	conn := Connect(tb, url)
	defer func() { _ = conn.Close(context.Background()) }() // nothing is lost with it
	rows, err := conn.Query(tb.Context(), sql, args...)
	if err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		var cols []string
		for _, v := range values {
			cols = append(cols, fmt.Sprint(v))
		}
		return strings.Join(cols, " "), err
	})
	if err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	return lines
}

// Main runs the tests of a package and removes the server they have shared.
func Main(m *testing.M) int {
	defer func() {
		if sharedServer != nil {
			sharedServer.remove()
		}
	}()
	return m.Run()
}

var (
	sharedOnce   sync.Once
	sharedServer *Server
	errShared    error
)

// shared starts, once in a process, the server that Main removes.
func shared(tb testing.TB) string {
	tb.Helper()
	sharedOnce.Do(func() {
		if sharedServer, errShared = newServer("fsync=off", "full_page_writes=off"); errShared == nil {
			errShared = sharedServer.start()
		}
	})
	if errShared != nil {
		tb.Fatal(errShared)
	}
	return sharedServer.URL()
}

// Server is a PostgreSQL of a test's own, on 127.0.0.1 with trust for all.
type Server struct {
	dir, bin string
	port     int
	options  []string
	attr     *syscall.SysProcAttr
	process  *exec.Cmd
	exited   chan struct{}
}

// Start starts a server with further settings, such as "fsync=off". It ends
// with the test.
func Start(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	s, err := newServer(settings...)
	if err == nil {
		tb.Cleanup(s.remove)
		err = s.start()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// newServer makes a cluster. Directory names are short: a socket must fit.
func newServer(settings ...string) (*Server, error) {
	dir, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, options: settings}
	if s.bin, err = binaries(); err != nil {
		return nil, err
	}
	if err := s.unprivileged(); err != nil {
		return nil, err
	}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	out, err := s.command("initdb", "-D", s.data(), "-A", "trust", "-U", "postgres", "--no-sync", "--no-instructions", "-E", "UTF8", "--locale=C.UTF-8").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return s, nil
}

// binaries returns the folder of the newest installed server.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // the pattern is sound
	slices.SortFunc(found, func(a, b string) int { return versionOf(a) - versionOf(b) })
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		return "", fmt.Errorf("PostgreSQL is needed (make install-tools installs it), or DATABASE_URL: %w", err)
	}
	return filepath.Dir(path), nil
}

func versionOf(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[4]) // 0 is older than all
	return n
}

// unprivileged makes the server run as somebody it accepts: it refuses root.
func (s *Server) unprivileged() error {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(u.Uid) // a number on this system
	gid, _ := strconv.Atoi(u.Gid)
	s.attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return os.Chown(s.dir, uid, gid)
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	attr := syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if s.attr != nil {
		attr.Credential = s.attr.Credential
	}
	cmd.SysProcAttr = &attr
	return cmd
}

// Start starts the server again after Stop or Kill.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	if err := s.start(); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) start() error {
	args := []string{"-D", s.data(), "-k", s.dir, "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=32MB", "-c", "max_connections=40"}
	for _, o := range s.options {
		args = append(args, "-c", o)
	}
	logFile, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = logFile.Close() }() // the server has its own descriptor
	s.process = s.command("postgres", args...)
	s.process.Stdout, s.process.Stderr = logFile, logFile
	if err := s.process.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait() // how it ended is in its log
		close(exited)
	}(s.process, s.exited)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	giveUp := time.After(time.Minute) // recovery after a crash takes its time
	for {
		if s.command("pg_isready", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-q").Run() == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.exited:
			text, _ := os.ReadFile(filepath.Join(s.dir, "log")) // empty when there is none
			return fmt.Errorf("postgres ended: %s", text)
		case <-giveUp:
			return errors.New("postgres does not answer")
		}
	}
}

// URL names the database "postgres" of the server.
func (s *Server) URL() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
}

// Address is where the server listens.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Database makes a new database on this server.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	return create(tb, s.URL())
}

// Dir is the data directory.
func (s *Server) Dir() string { return s.data() }

// Stop stops the server in good order, but without waiting for clients.
func (s *Server) Stop() { s.end(syscall.SIGINT) }

// Kill ends the server at once, as a crash does.
func (s *Server) Kill() { s.end(syscall.SIGQUIT) }

func (s *Server) remove() {
	s.Kill()
	_ = os.RemoveAll(s.dir)
}

func (s *Server) end(sig syscall.Signal) {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Signal(sig) // it may be gone already
	<-s.exited
}

// freePort returns a port that nobody listens on.
func freePort() (int, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = ln.Close() }() // only its number counts
	return ln.Addr().(*net.TCPAddr).Port, nil
}
