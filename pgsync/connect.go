package pgsync

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"
)

// Timeouts of a connection. A server that is gone without a word must not be
// waited for longer than this.
const (
	connectTimeout = 10 * time.Second
	keepAliveIdle  = 10 * time.Second
	userTimeout    = 20 * time.Second // of bytes without an acknowledgement
)

// Codes of prepared statements that are there already, or are not: a pooler between the
// node and the server hands its connection on to others.
const (
	codeStatementThere = "42P05"
	codeNoStatement    = "26000"
)

// connect opens a connection. The address, the credentials and everything about
// TLS come from the connection string, a password file or a service file.
//
// Behind a pooler, each transaction may come to another session of the server: then
// nothing is set, and no statement prepared, that outlives its transaction.
func connect(ctx context.Context, cfg *Config) (*pgx.Conn, error) {
	url, err := cfg.URL()
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err)
	}
	conn, err := dial(ctx, cfg, url)
	if err != nil || cfg.pooled.Load() {
		return conn, err
	}
	var pid uint32
	if err = conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pid); err == nil && pid != conn.PgConn().PID() {
		cfg.Logger.Info("there is a pooler before Postgres: nothing is kept in sessions of the server")
		cfg.pooled.Store(true)
		_ = conn.Close(ctx) // nothing was done with it
		return dial(ctx, cfg, url)
	}
	if err == nil { // set here and not in the startup message, which poolers refuse
		_, err = conn.Exec(ctx, fmt.Sprintf("SET application_name = 'picloud'; SET statement_timeout = %d; SET lock_timeout = %d; SET idle_in_transaction_session_timeout = %d",
			cfg.Timeout.Milliseconds(), cfg.Timeout.Milliseconds()/2, 2*cfg.Timeout.Milliseconds()), pgx.QueryExecModeSimpleProtocol)
	}
	if err != nil {
		_ = conn.Close(ctx) // the first error is the one to tell
		return nil, classify("connect to Postgres", err)
	}
	return conn, nil
}

// dial opens a connection as a pooler needs it, if there is one.
func dial(ctx context.Context, cfg *Config, url string) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errURL // what the parser says may quote the password
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	if cfg.pooled.Load() && c.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		c.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	keepOpen := c.OnPgError
	c.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		if err.Code == codeStatementThere || err.Code == codeNoStatement { // a pooler that shows the process of the server as its own
			cfg.pooled.Store(true)
		}
		return keepOpen == nil || keepOpen(conn, err)
	}
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAliveIdle, Interval: 5 * time.Second, Count: 3}, Control: impatient}
	c.DialFunc = dialer.DialContext
	conn, err := pgx.ConnectConfig(ctx, c)
	return conn, classify("connect to Postgres", err)
}

// impatient gives a socket up when what was sent is not acknowledged in time.
func impatient(network, _ string, raw syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var err error
	if cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds())) // #nosec G115 -- descriptors are small
	}); cerr != nil {
		return cerr
	}
	return err
}
