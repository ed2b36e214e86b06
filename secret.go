package picloud

import "time"

// Secret is a named value that only scripts may read.
type Secret struct {
	App       string    `json:"app"`
	Name      string    `json:"name"`
	Sealed    []byte    `json:"sealed"` // the value, encrypted with a key that the node keeps elsewhere
	UpdatedAt time.Time `json:"updated_at"`
}

// Limits of secrets.
const (
	MaxSecret  = 16 << 10 // bytes of a value
	MaxSecrets = 100      // of one app
)

// Errors about secrets.
var (
	ErrSecretNotFound   = &Error{Code: CodeNotFound, Type: "secret-not-found", Title: "There is no such secret"}
	ErrSecretInvalid    = &Error{Code: CodeUnprocessable, Type: "secret-invalid", Title: "The secret is not valid"}
	ErrSecretUnreadable = &Error{
		Code: CodeConflict, Type: "secret-unreadable", Title: "The secret cannot be decrypted",
		Detail: "It was encrypted with another key: give the node its credential back, or set the secret again.",
	}
)
