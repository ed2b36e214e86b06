package check_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

func TestApp(t *testing.T) {
	t.Parallel()
	for _, origin := range []string{"*", "https://panel.example", "http://192.168.1.5:8080", "http://[fe80::1]:8080"} {
		if err := check.App(picloud.App{Name: "a", AllowedOrigins: []string{origin}}); err != nil {
			t.Errorf("origin %q: %v", origin, err)
		}
	}
	bad := map[string]picloud.App{
		"long description": {Name: "a", Description: strings.Repeat("x", picloud.MaxDescription+1)},
		"not UTF-8":        {Name: "a", Description: "\xff"},
		"NUL":              {Name: "a", Description: "a\x00b"},
		"many origins":     {Name: "a", AllowedOrigins: slices.Repeat([]string{"*"}, picloud.MaxOrigins+1)},
	}
	for _, origin := range []string{"", "panel.example", "https://panel.example/", "https://", "ftp://x", "https://u@x", "https://x?y", "https://x#y", "null", "HTTPS://x", "https://x\n"} {
		bad["origin "+origin] = picloud.App{Name: "a", AllowedOrigins: []string{"https://ok.example", origin}}
	}
	for name, a := range bad {
		if err := check.App(a); !errors.Is(err, picloud.ErrAppInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := check.App(picloud.App{}); !errors.Is(err, picloud.ErrAppNameInvalid) {
		t.Errorf("no name: %v", err)
	}
}

// TP-4: auth modes and durabilities are closed lists at the door.
func TestTopic(t *testing.T) {
	t.Parallel()
	base := picloud.Topic{Name: "t"}.WithDefaults()
	if err := check.Topic(base); err != nil || base.AuthMode != picloud.AuthToken || base.Durability != picloud.DurabilitySync || base.External {
		t.Fatalf("a topic by default is %+v, %v", base, err)
	}
	for name, change := range map[string]func(*picloud.Topic){
		"auth mode of later":  func(x *picloud.Topic) { x.AuthMode = "session" },
		"no auth mode":        func(x *picloud.Topic) { x.AuthMode = "" },
		"durability of event": func(x *picloud.Topic) { x.Durability = picloud.DurabilityPending },
		"negative count":      func(x *picloud.Topic) { x.Retention.MaxEvents = -1 },
		"negative age":        func(x *picloud.Topic) { x.Retention.MaxAge = -1 },
		"negative bytes":      func(x *picloud.Topic) { x.Retention.MaxBytes = -1 },
		"NUL":                 func(x *picloud.Topic) { x.Description = "a\x00b" },
		"long description":    func(x *picloud.Topic) { x.Description = strings.Repeat("x", picloud.MaxDescription+1) },
	} {
		topic := base
		change(&topic)
		if err := check.Topic(topic); !errors.Is(err, picloud.ErrTopicInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPIKey(t *testing.T) {
	t.Parallel()
	good := picloud.APIKey{App: "shop", Scopes: []picloud.Scope{picloud.ScopeAppRead}}
	if err := check.APIKey(good); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		key  picloud.APIKey
		want error
	}{
		"no scope":               {picloud.APIKey{}, picloud.ErrKeyInvalid},
		"unknown scope":          {picloud.APIKey{Scopes: []picloud.Scope{"app:everything"}}, picloud.ErrKeyInvalid},
		"instance scope, an app": {picloud.APIKey{App: "shop", Scopes: []picloud.Scope{picloud.ScopeInstanceRead}}, picloud.ErrKeyInvalid},
		"no app name":            {picloud.APIKey{App: "Shop", Scopes: good.Scopes}, picloud.ErrAppNameInvalid},
		"control characters":     {picloud.APIKey{Scopes: good.Scopes, Label: "a\x1b[2J"}, picloud.ErrKeyInvalid},
		"long label":             {picloud.APIKey{Scopes: good.Scopes, Label: strings.Repeat("x", picloud.MaxLabel+1)}, picloud.ErrKeyInvalid},
	} {
		if err := check.APIKey(c.key); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	good := picloud.Endpoint{Name: "e", Script: "s", Path: "/orders/{id}"}.WithDefaults()
	if err := check.Endpoint(good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*picloud.Endpoint){
		"method":         func(e *picloud.Endpoint) { e.Method = "get" },
		"auth":           func(e *picloud.Endpoint) { e.Auth = "token" },
		"timeout":        func(e *picloud.Endpoint) { e.Timeout = 2 * picloud.MaxEndpointTimeout },
		"no path":        func(e *picloud.Endpoint) { e.Path = "" },
		"pattern":        func(e *picloud.Endpoint) { e.Path = "/{id" },
		"length of path": func(e *picloud.Endpoint) { e.Path = "/" + strings.Repeat("x", picloud.MaxEndpointPath) },
	} {
		e := good
		change(&e)
		if err := check.Endpoint(e); !errors.Is(err, picloud.ErrEndpointInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The conditions of a query come from outside: whatever is accepted has a field, an
// operator that fits the value, and a stable order.
func FuzzWhere(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"a":1}`, `{"owner.name":"ada","age":{"gte":18,"lt":99}}`, `{"a":null}`, `{"a":{"prefix":"x"}}`, `{"a":[]}`, `{"":1}`, `{"a":{}}`, `[`, `{"a":{"eq":{}}}`} {
		f.Add([]byte(seed))
	}
	ops := []picloud.Op{picloud.OpEqual, picloud.OpGreater, picloud.OpGreaterOrEqual, picloud.OpLess, picloud.OpLessOrEqual, picloud.OpPrefix}
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := check.Where(raw)
		if err != nil {
			if picloud.AsError(err) == nil {
				t.Fatalf("%q: %v is not public", raw, err)
			}
			return
		}
		for _, c := range list {
			_, text := c.Value.(string)
			if check.Field(c.Field) != nil || !slices.Contains(ops, c.Op) || c.Op == picloud.OpPrefix && !text {
				t.Fatalf("%q: %+v", raw, c)
			}
		}
		if again, err := check.Where(raw); err != nil || !slices.Equal(list, again) {
			t.Fatalf("%q: %v, then %v, %v", raw, list, again, err)
		}
	})
}
