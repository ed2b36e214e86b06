package pgsync

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// advisedError is an error that passes when the operator has acted on it. Trying again
// is harmless, and finds out when it was done.
type advisedError struct {
	err    error
	advice string // the one thing to do
}

func (e *advisedError) Error() string  { return e.err.Error() + "; " + e.advice }
func (e *advisedError) Unwrap() error  { return e.err }
func (e *advisedError) What() string   { return e.err.Error() }
func (e *advisedError) Advice() string { return e.advice }

func advise(advice, what string, args ...any) error {
	return &advisedError{fmt.Errorf(what, args...), advice}
}

var (
	errURL = advise("write it as postgres://user:password@host:5432/database?sslmode=verify-full", "the database URL cannot be understood")

	errTaken = advise("stop this node; then 'picloud node new-identity' makes it a node of its own, and 'picloud node take-over' the only one if the other is not wanted",
		"another process has taken over this node in Postgres: two cards are copies of each other")
)

// permanentError is an error of one record, which trying again will not mend.
type permanentError struct{ err error }

func (e *permanentError) Error() string   { return e.err.Error() }
func (e *permanentError) Unwrap() error   { return e.err }
func (e *permanentError) Permanent() bool { return true }

// plainError has its text on one line: that of the driver may have several.
type plainError struct {
	text string
	err  error
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.err }

// codeTaken is what the function advance raises.
const codeTaken = "PC001"

// Codes of what the schema lacks.
const (
	codeNoSchema   = "3F000"
	codeNoTable    = "42P01"
	codeNoFunction = "42883"
	codeNoColumn   = "42703"
)

// hints say what to do about errors of a server that are not about a record.
var hints = map[string]string{
	"28P01": "the password is wrong: correct it in database.url, or in the file that database.url_file or PGPASSFILE names",
	"28000": "the server refuses this user: see its pg_hba.conf and the user in database.url",
	"3D000": "create the database, or correct its name in database.url",
	"42501": "grant the role what docs/postgres.md lists",
	"25006": "this server only reads: name the primary in database.url, or add target_session_attrs=read-write to it",
	"53100": "the disk of the database is full: free space there",
	"53300": "the server has no connection left: raise max_connections there, or put a pooler before it",
	"57P03": "wait: the server is starting or stopping",

	codeNoSchema:   dropped,
	codeNoTable:    dropped,
	codeNoFunction: dropped,
	codeNoColumn:   dropped,
}

// dropped is what to do when tables are not as the migrations have left them.
const dropped = "tables of the copy were dropped or changed: restore them from a backup of the database, or drop the whole schema, and each node makes it anew with 'picloud migrate up' and copies what it has"

// classify turns an error into one that says what was tried and, where that is
// known, what to do. It is permanent only when the server says that the data
// itself are to blame: everything else may pass.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%s: no answer in time: %w", doing, err)
		}
		return &plainError{doing + ": " + strings.Join(strings.Fields(err.Error()), " "), err}
	}
	if pg.Code == codeTaken {
		return errTaken
	}
	err = fmt.Errorf("%s: %s (SQLSTATE %s)", doing, pg.Message, pg.Code)
	if advice := hints[pg.Code]; advice != "" {
		return &advisedError{err, advice}
	}
	switch {
	case strings.HasPrefix(pg.Code, "22"), // data exception: jsonb takes no \u0000, numeric no exponent of a million
		strings.HasPrefix(pg.Code, "23"), // a constraint that was added
		strings.HasPrefix(pg.Code, "54"), // a limit of the server: index rows, arrays
		strings.HasPrefix(pg.Code, "P0"): // raised by a trigger that was added
		return &permanentError{err}
	}
	return err
}
