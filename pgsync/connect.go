package pgsync

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// Timeouts of a connection. A server that is gone without a word must not be
// waited for longer than this.
const (
	connectTimeout = 10 * time.Second
	keepAliveIdle  = 10 * time.Second
	userTimeout    = 20 * time.Second // of bytes that nobody acknowledges
)

// connect opens a connection. The address, the credentials and everything about
// TLS come from the connection string, a password file or a service file.
func connect(ctx context.Context, cfg *Config) (*pgx.Conn, error) {
	url, err := cfg.URL()
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err)
	}
	c, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errURL // what the parser says may quote the password
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAliveIdle, Interval: 5 * time.Second, Count: 3}, Control: impatient}
	c.DialFunc = dialer.DialContext
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, classify("connect to Postgres", err)
	}
	// Set here and not in the startup message, which poolers refuse.
	_, err = conn.Exec(ctx, fmt.Sprintf("SET application_name = 'picloud'; SET statement_timeout = %d; SET lock_timeout = %d; SET idle_in_transaction_session_timeout = %d",
		cfg.Timeout.Milliseconds(), cfg.Timeout.Milliseconds()/2, 2*cfg.Timeout.Milliseconds()), pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		_ = conn.Close(ctx) // the first error is the one to tell
		return nil, classify("connect to Postgres", err)
	}
	return conn, nil
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
