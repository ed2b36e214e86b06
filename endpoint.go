package picloud

import (
	"encoding/json"
	"slices"
	"strings"
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

// Validate returns the first fault of an endpoint, as a public error.
func (e Endpoint) Validate() error {
	if err := CheckHandle("endpoint", e.Name); err != nil {
		return err
	}
	if err := CheckHandle("script", e.Script); err != nil {
		return err
	}
	invalid := func(format string, args ...any) error { return ErrEndpointInvalid.Detailf(format, args...) }
	switch {
	case !slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE", "*"}, e.Method):
		return invalid("method: use GET, POST, PUT, PATCH, DELETE, or * for any")
	case e.Auth != EndpointPublic && e.Auth != EndpointKey:
		return invalid("auth: use public or key")
	case e.Timeout < 100*time.Millisecond || e.Timeout > MaxEndpointTimeout:
		return invalid("timeout_sec: use 0.1 to %d", MaxEndpointTimeout/time.Second)
	case !strings.HasPrefix(e.Path, "/") || len(e.Path) > MaxEndpointPath:
		return invalid("path: begin it with '/', and use at most %d bytes", MaxEndpointPath)
	}
	parts := strings.Split(e.Path[1:], "/")
	names := map[string]bool{}
	for i, p := range parts {
		name, rest, param := endpointParam(p)
		switch {
		case !param && (strings.ContainsAny(p, "{}?#% ") || p == "." || p == ".."):
			return invalid("path: %q: use plain text, {name}, or {name...} at the end", p)
		case param && (CheckHandle("parameter", name) != nil || names[name]):
			return invalid("path: %q: give each parameter a name of its own", p)
		case rest && i != len(parts)-1:
			return invalid("path: %q can only be at the end", p)
		}
		names[name] = param
	}
	return nil
}

// endpointParam returns the name of a parameter in a path, and whether it takes
// the rest of it.
func endpointParam(part string) (name string, rest, ok bool) {
	if !strings.HasPrefix(part, "{") || !strings.HasSuffix(part, "}") {
		return "", false, false
	}
	name = part[1 : len(part)-1]
	name, rest = strings.CutSuffix(name, "...")
	return name, rest, true
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
	ResultRefused = "refused" // the script wanted to know who asks
)

// Result is what has become of a request that is answered later.
type Result struct {
	State    string
	Output   []byte // what the script returned, JSON
	Response bool   // which is one of the SDK's responses
}

// Errors about endpoints.
var (
	ErrResultNotFound   = &Error{Code: CodeNotFound, Type: "result-not-found", Title: "There is no such result", Detail: "It never was, or it is older than a day."}
	ErrEndpointNotFound = &Error{Code: CodeNotFound, Type: "endpoint-not-found", Title: "There is no such endpoint"}
	ErrEndpointInvalid  = &Error{Code: CodeUnprocessable, Type: "endpoint-invalid", Title: "The endpoint is not valid"}
)
