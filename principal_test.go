package picloud_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud"
)

// AU-1: seven scopes, no more, no fewer.
func TestThereAreSevenScopes(t *testing.T) {
	t.Parallel()
	want := []picloud.Scope{"instance:admin", "instance:read", "app:admin", "app:write", "app:read", "app:publish", "app:invoke"}
	if diff := cmp.Diff(want, picloud.Scopes()); diff != "" {
		t.Error(diff)
	}
	picloud.Scopes()[0] = "changed"
	if picloud.Scopes()[0] != want[0] {
		t.Error("a caller can change the list")
	}
}

// capabilities is the table of the specification: each capability and the one
// scope that grants it by itself.
var capabilities = map[picloud.Capability]picloud.Scope{
	picloud.InstanceManage: picloud.ScopeInstanceAdmin,
	picloud.InstanceRead:   picloud.ScopeInstanceRead,
	picloud.AppManage:      picloud.ScopeAppAdmin,
	picloud.AppKeyManage:   picloud.ScopeAppAdmin,
	picloud.AppTopicManage: picloud.ScopeAppAdmin,
	picloud.AppDataWrite:   picloud.ScopeAppWrite,
	picloud.AppDataRead:    picloud.ScopeAppRead,
	picloud.AppSubscribe:   picloud.ScopeAppRead,
	picloud.AppTopicRead:   picloud.ScopeAppRead,
	picloud.AppRead:        picloud.ScopeAppRead,
	picloud.AppPublish:     picloud.ScopeAppPublish,
	picloud.AppTokenMint:   picloud.ScopeAppPublish,
	picloud.AppInvoke:      picloud.ScopeAppInvoke,

	picloud.AppSecretManage: picloud.ScopeAppAdmin,
	picloud.AppScriptManage: picloud.ScopeAppAdmin,
	picloud.AppScriptRead:   picloud.ScopeAppRead,

	picloud.AppPinWrite: picloud.ScopeAppWrite,
}

// AU-1, AU-5: Can over kind × binding × scope × capability × app.
func TestCan(t *testing.T) {
	t.Parallel()
	kinds := []picloud.Kind{
		picloud.KindAnonymous, picloud.KindKey, picloud.KindLocal, picloud.KindSpool,
		picloud.KindDevice, picloud.KindScript, picloud.KindUser, picloud.KindSystem,
	}
	// may says it again, the long way round.
	may := func(kind picloud.Kind, bound string, has, need picloud.Scope, app string) bool {
		switch {
		case kind == picloud.KindAnonymous:
			return false
		case bound != "" && (app != bound || need.Instance()):
			return false
		case has == need:
			return true
		case has == picloud.ScopeInstanceAdmin:
			return bound == ""
		case has == picloud.ScopeAppAdmin:
			return !need.Instance()
		}
		return false
	}
	for _, kind := range kinds {
		for _, bound := range []string{"", "shop"} {
			for _, has := range picloud.Scopes() {
				p := picloud.Principal{Kind: kind, App: bound, Scopes: []picloud.Scope{has}}
				for c, need := range capabilities {
					if got := picloud.ScopeOf(c); got != need {
						t.Errorf("%s needs %s, want %s", c, got, need)
					}
					for _, app := range []string{"", "shop", "lab", "Shop", "shop "} {
						if got, want := picloud.Can(p, c, app), may(kind, bound, has, need, app); got != want {
							t.Errorf("%q bound to %q with %s: %s in %q = %v, want %v", kind, bound, has, c, app, got, want)
						}
					}
				}
				if picloud.Can(p, "AppEverything", "shop") {
					t.Errorf("%v may do what does not exist", p)
				}
			}
		}
	}
}

func TestScopesOfAPrincipalAddUp(t *testing.T) {
	t.Parallel()
	p := picloud.Principal{Kind: picloud.KindKey, App: "shop", Scopes: []picloud.Scope{picloud.ScopeAppPublish, picloud.ScopeAppRead}}
	for c, want := range map[picloud.Capability]bool{
		picloud.AppPublish: true, picloud.AppTokenMint: true, picloud.AppSubscribe: true,
		picloud.AppDataWrite: false, picloud.AppTopicManage: false, picloud.InstanceRead: false,
	} {
		if got := picloud.Can(p, c, "shop"); got != want {
			t.Errorf("%s = %v, want %v", c, got, want)
		}
	}
	if picloud.Can(picloud.Principal{Kind: picloud.KindKey}, picloud.AppRead, "shop") {
		t.Error("a key without scopes may read")
	}
}

// AU-6: who may learn that an app exists.
func TestCanSee(t *testing.T) {
	t.Parallel()
	reader := []picloud.Scope{picloud.ScopeAppRead}
	for name, tc := range map[string]struct {
		p    picloud.Principal
		want bool
	}{
		"anonymous":           {picloud.Principal{}, false},
		"anonymous, scopes":   {picloud.Principal{Scopes: reader}, false},
		"own app":             {picloud.Principal{Kind: picloud.KindKey, App: "shop", Scopes: reader}, true},
		"own app, no scope":   {picloud.Principal{Kind: picloud.KindKey, App: "shop"}, false},
		"another app":         {picloud.Principal{Kind: picloud.KindKey, App: "lab", Scopes: reader}, false},
		"key of the instance": {picloud.Principal{Kind: picloud.KindKey, Scopes: reader}, true},
		"local operator":      {picloud.LocalOperator(), true},
		"system":              {picloud.System(), true},
	} {
		if got := picloud.CanSee(tc.p, "shop"); got != tc.want {
			t.Errorf("%s: CanSee = %v, want %v", name, got, tc.want)
		}
	}
}

func TestSource(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]picloud.Principal{
		"key:ab12cd34ef": {Kind: picloud.KindKey, Name: "ab12cd34ef"},
		"local":          picloud.LocalOperator(),
		"system":         picloud.System(),
		"spool":          {Kind: picloud.KindSpool, App: "shop"},
		"":               {},
	} {
		if got := p.Source(); got != want {
			t.Errorf("source = %q, want %q", got, want)
		}
	}
}
