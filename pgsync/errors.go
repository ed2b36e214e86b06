package pgsync

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Errors that an operator has to do something about. Trying again is harmless,
// and finds out when it was done.
var (
	errURL   = errors.New("the database URL cannot be understood; write it as postgres://user:password@host:5432/database?sslmode=verify-full")
	errTaken = errors.New("another process has taken over this node in Postgres; if two cards are copies of each other, stop this one and run 'picloud node new-identity', or 'picloud node take-over' if the other is not wanted")
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

// hints say what to do about errors of a server that are not about a record.
var hints = map[string]string{
	"28P01": "the password is wrong; correct it in the database URL",
	"28000": "the server refuses this user; see its pg_hba.conf and the user in the database URL",
	"3D000": "the database does not exist; create it, or correct the database URL",
	"42501": "the role may not do this; see docs/postgres.md for what it needs",
	"25006": "this server only reads; name the primary, or add target_session_attrs=read-write to the database URL",
	"53100": "the disk of the database is full",
	"53300": "the server has no connection left",
	"57P03": "the server is starting or stopping",
}

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
	if hint := hints[pg.Code]; hint != "" {
		return fmt.Errorf("%w: %s", err, hint)
	}
	switch {
	case strings.HasPrefix(pg.Code, "22"), // data exception: jsonb takes no \u0000, numeric no exponent of a million
		strings.HasPrefix(pg.Code, "23"), // a constraint somebody added
		strings.HasPrefix(pg.Code, "54"), // a limit of the server: index rows, arrays
		strings.HasPrefix(pg.Code, "P0"): // raised by somebody's trigger
		return &permanentError{err}
	}
	return err
}
