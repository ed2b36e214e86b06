package sdk

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/board"
)

// Store is what the SDK needs of the node's memory; *store.Store implements it.
type Store interface {
	Incarnation(app string) uint64
	Script(app, name string) (picloud.Script, error)
	Secret(app, name string) (string, error)
	KV
	Documents
	Files
}

// KV keeps key-value pairs.
type KV interface {
	Entry(app, key string) (picloud.Entry, error)
	Entries(q picloud.EntryList) (picloud.EntryPage, error)
	SetEntry(ctx context.Context, c picloud.EntryChange) (picloud.Entry, error)
	IncrementEntry(ctx context.Context, c picloud.EntryIncrement) (picloud.Entry, error)
	DeleteEntry(ctx context.Context, d picloud.Deletion) error
}

// Board is the board with its pins; *hw.Board implements it.
type Board interface {
	Health() board.Health
	Pins(app string) []board.Pin
	ReadPin(app, name string) (on bool, err error)
	SetPin(ctx context.Context, c board.PinChange) (board.Pin, error)
}

// Sensors are those of the board; *sensor.Poller implements it.
type Sensors interface {
	AppSensors(app string) []board.Sensor
	Sensor(app, name string) (board.Sensor, error)
}

// Mint issues a subscriber token, as auth.Authority does.
type Mint func(ctx context.Context, by picloud.Principal, app string, topics []string, ttl time.Duration) (token string, expires time.Time, err error)

// Config configures a Host.
type Config struct {
	Store     Store
	Publisher picloud.Publisher
	Mint      Mint
	Board     Board
	Sensors   Sensors
	HTTPHosts []string // that scripts may ask: host, host:port, *.domain, an address, or * for any; none if empty
	Resolver  Resolver // finds their addresses; nil: net.DefaultResolver
}

// Resolver finds the addresses of a host, as *net.Resolver does.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Host answers calls. Its methods may be called concurrently.
type Host struct {
	cfg     Config
	methods map[string]method
	fetcher *fetcher
}

// method answers one kind of call.
type method func(ctx context.Context, c *call) (any, error)

// New returns a Host over the parts in cfg.
func New(cfg Config) *Host {
	h := &Host{cfg: cfg, fetcher: newFetcher(cfg.HTTPHosts, cfg.Resolver)}
	h.methods = map[string]method{
		"kv.get": h.kvGet, "kv.set": h.kvSet, "kv.delete": h.kvDelete, "kv.increment": h.kvIncrement, "kv.list": h.kvList,
		"docs.get": h.docsGet, "docs.put": h.docsPut, "docs.delete": h.docsDelete, "docs.find": h.docsFind,
		"files.stat": h.filesStat, "files.read": h.filesRead, "files.write": h.filesWrite, "files.delete": h.filesDelete, "files.list": h.filesList,
		"pubsub.publish": h.publish, "pubsub.subscriberToken": h.subscriberToken,
		"secrets.get": h.secretsGet, "http.fetch": h.fetch,
		"hw.health": h.hwHealth, "hw.pins": h.hwPins, "hw.read": h.hwRead, "hw.set": h.hwSet, "hw.pulse": h.hwPulse,
		"hw.sensors": h.hwSensors, "hw.sensor": h.hwSensor,
		"time.sleep":    sleep,
		"crypto.random": random, "crypto.uuid": uuid, "crypto.hash": digest, "crypto.hmac": sign,
	}
	return h
}

// Methods lists what can be called, for the test that holds it against the
// JavaScript side.
func (h *Host) Methods() []string {
	var names []string
	for name := range h.methods {
		names = append(names, name)
	}
	return names
}

// Incarnation tells an app from others that had its name before; 0: there is none.
func (h *Host) Incarnation(app string) uint64 { return h.cfg.Store.Incarnation(app) }

// Module returns the newest version of a script.
func (h *Host) Module(app, name string) (picloud.Script, error) { return h.cfg.Store.Script(app, name) }

// Call answers one call of a script. Errors that are not public are internal.
func (h *Host) Call(ctx context.Context, c picloud.ScriptCall) (json.RawMessage, error) {
	m := h.methods[c.Module+"."+c.Method]
	if m == nil {
		return nil, errArgument.Detailf("there is no %s.%s", c.Module, c.Method)
	}
	v, err := m(ctx, &call{app: c.App, by: principal(c.App, c.Script), args: c.Args, anonymous: c.Anonymous, cause: c.Cause, reserve: c.Reserve})
	if err != nil {
		return nil, err
	}
	if c.Cause.Incarnation != 0 && h.cfg.Store.Incarnation(c.App) != c.Cause.Incarnation { // after reading: the answer may be its successor's
		return nil, picloud.ErrAppNotFound
	}
	return picloud.EncodeJSON(v) //nolint:wrapcheck // values that were made here
}

// principal is who a script is.
func principal(app, script string) picloud.Principal {
	return picloud.Principal{
		Kind: picloud.KindScript, Name: script, App: app,
		Scopes: []picloud.Scope{picloud.ScopeAppWrite, picloud.ScopeAppRead, picloud.ScopeAppPublish, picloud.ScopeAppInvoke},
	}
}

// call is one call of a script.
type call struct {
	app  string
	by   picloud.Principal
	args []json.RawMessage

	cause     picloud.Cause // of the changes it makes
	anonymous bool          // for an anonymous caller

	reserve func(ctx context.Context, bytes int) error // see picloud.ScriptCall; nil: no bound
}

// answers waits until the run may hold an answer of so many bytes.
func (c *call) answers(ctx context.Context, bytes int) error {
	if c.reserve == nil {
		return nil
	}
	return c.reserve(ctx, bytes)
}

// answersBytes is answers for bytes that are sent as base64.
func (c *call) answersBytes(ctx context.Context, bytes int) error {
	return c.answers(ctx, base64.StdEncoding.EncodedLen(bytes))
}

var errArgument = &picloud.Error{Code: picloud.CodeInvalid, Type: "argument-invalid", Title: "An argument does not fit"}

// read decodes the arguments, in order. Those that are missing leave what they
// are read into as it is; so does null, except that it makes raw JSON null.
func (c *call) read(into ...any) error {
	for i, v := range into {
		if i >= len(c.args) {
			return nil
		}
		if err := json.Unmarshal(c.args[i], v); err != nil {
			return errArgument.Detailf("argument %d: %s does not fit here", i+1, shorten(c.args[i]))
		}
	}
	return nil
}

func shorten(b []byte) string {
	const limit = 40
	if len(b) > limit {
		return string(b[:limit]) + "…"
	}
	return string(b)
}

// precondition asks for a version, or for nothing to be there.
func precondition(version uint64, create bool) (picloud.Precondition, error) {
	if create && version != 0 {
		return picloud.Precondition{}, errArgument.Detailf("create and version exclude each other")
	}
	return picloud.Precondition{Version: version, Absent: create}, nil
}

// seconds is a time to live as scripts give it.
func seconds(n float64) (time.Duration, error) {
	if n < 0 || n > picloud.MaxTTL.Seconds() || (n > 0 && n < 1e-3) {
		return 0, picloud.ErrTTLInvalid.Detailf("use 0.001 to %d seconds, or leave it out", int64(picloud.MaxTTL/time.Second))
	}
	return time.Duration(n * float64(time.Second)), nil
}

// page is a part of a list as scripts ask for it.
type page struct {
	Prefix string `json:"prefix"`
	After  string `json:"after"`
	Limit  int    `json:"limit"`
}

// check completes it, or says what is wrong.
func (p *page) check() error {
	if p.Limit < 0 || p.Limit > picloud.MaxPage {
		return errArgument.Detailf("limit: use 1 to %d", picloud.MaxPage)
	}
	if p.Limit == 0 {
		p.Limit = 100
	}
	return nil
}
