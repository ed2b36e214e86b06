package picloud

import (
	"encoding/json"
	"time"
)

// Endpoint makes a script answer HTTP requests below /apps/{app}.
type Endpoint struct {
	App       string        `json:"app"`
	Name      string        `json:"name"`
	ID        string        `json:"id"` // tells it from another one that had its name before
	Method    string        `json:"method"`
	Path      string        `json:"path"` // such as /orders/{id} or /static/{rest...}
	Script    string        `json:"script"`
	Export    string        `json:"export,omitempty"`
	Auth      EndpointAuth  `json:"auth"`
	Timeout   time.Duration `json:"timeout"`
	CreatedAt time.Time     `json:"created_at"`
	UpdatedAt time.Time     `json:"updated_at"`
}

// EndpointAuth says who may ask.
type EndpointAuth string

// Who may ask.
const (
	EndpointPublic EndpointAuth = "public" // anybody
	EndpointKey    EndpointAuth = "key"    // who shows an API key that may invoke
)

// Limits of endpoints.
const (
	MaxEndpoints       = 200 // of one app
	MaxEndpointPath    = 256 // bytes
	MaxEndpointTimeout = 30 * time.Second
	MaxOutput          = 1 << 20 // bytes of what a script returns
)

// WithDefaults completes what an endpoint does not say.
func (e Endpoint) WithDefaults() Endpoint {
	if e.Method == "" {
		e.Method = "GET"
	}
	if e.Auth == "" {
		e.Auth = EndpointKey
	}
	if e.Timeout == 0 {
		e.Timeout = MaxEndpointTimeout
	}
	return e
}

// LaterRequest is a request that is answered later, as it is kept.
type LaterRequest struct {
	Input json.RawMessage `json:"input"` // the script's first argument
	About map[string]any  `json:"about"` // its second, apart from what is added then
}

// What has become of a request that is answered later.
const (
	ResultWaiting = "waiting"
	ResultDone    = "done"
	ResultFailed  = "failed"
	ResultRefused = "refused" // the script wanted an authenticated caller
)

// Result is what has become of a request that is answered later.
type Result struct {
	State    string
	Output   []byte // what the script returned, JSON
	Response bool   // which is one of the SDK's responses
}

// Errors about endpoints.
var (
	ErrResultNotFound   = &Error{Code: CodeNotFound, Type: "result-not-found", Title: "There is no such result", Detail: "It never was, or it is older than a day; of an anonymous caller, older than ten minutes."}
	ErrResultsFull      = &Error{Code: CodeTooMany, Type: "results-full", Title: "The app keeps as many results as it may", RetryAfter: time.Minute}
	ErrEndpointNotFound = &Error{Code: CodeNotFound, Type: "endpoint-not-found", Title: "There is no such endpoint"}
	ErrEndpointInvalid  = &Error{Code: CodeUnprocessable, Type: "endpoint-invalid", Title: "The endpoint is not valid"}
)
