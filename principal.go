package picloud

import (
	"slices"
	"strings"
	"time"
)

// Kind says what sort of principal acts.
type Kind string

// The kinds of principals.
const (
	KindAnonymous Kind = ""
	KindKey       Kind = "key"    // an API key
	KindLocal     Kind = "local"  // the operator on the Unix socket
	KindSpool     Kind = "spool"  // a file dropped in
	KindDevice    Kind = "device" // a GPIO line or a sensor
	KindScript    Kind = "script"
	KindUser      Kind = "user"
	KindSystem    Kind = "system" // the node itself
)

// Principal is who acts. The zero value is anonymous and may do nothing.
type Principal struct {
	Kind    Kind
	Name    string // key id, device or script name; empty where the kind says it all
	App     string // the app it is bound to; empty: the whole instance
	Scopes  []Scope
	Expires time.Time // zero: never
}

// Source returns the text that events carry as their source.
func (p Principal) Source() string {
	if p.Name == "" {
		return string(p.Kind)
	}
	return string(p.Kind) + ":" + p.Name
}

// Scope is a coarse grant on a key.
type Scope string

// The seven scopes. There are no others, and there will be none.
const (
	ScopeInstanceAdmin Scope = "instance:admin"
	ScopeInstanceRead  Scope = "instance:read"
	ScopeAppAdmin      Scope = "app:admin"
	ScopeAppWrite      Scope = "app:write"
	ScopeAppRead       Scope = "app:read"
	ScopeAppPublish    Scope = "app:publish"
	ScopeAppInvoke     Scope = "app:invoke"
)

// Scopes lists the seven scopes.
func Scopes() []Scope {
	return []Scope{ScopeInstanceAdmin, ScopeInstanceRead, ScopeAppAdmin, ScopeAppWrite, ScopeAppRead, ScopeAppPublish, ScopeAppInvoke}
}

// Instance reports whether s concerns the whole instance.
func (s Scope) Instance() bool { return strings.HasPrefix(string(s), "instance:") }

// Capability is a fine operation that code checks.
type Capability string

// The capabilities.
const (
	InstanceManage Capability = "InstanceManage" // apps, instance keys, backup
	InstanceRead   Capability = "InstanceRead"   // node, metrics, list of all apps
	AppManage      Capability = "AppManage"      // settings of one app
	AppKeyManage   Capability = "AppKeyManage"   // API keys and signing keys of one app
	AppTopicManage Capability = "AppTopicManage"
	AppDataWrite   Capability = "AppDataWrite" // key-value, documents, files
	AppDataRead    Capability = "AppDataRead"
	AppSubscribe   Capability = "AppSubscribe" // every topic, internal ones included; history
	AppTopicRead   Capability = "AppTopicRead"
	AppRead        Capability = "AppRead"
	AppPublish     Capability = "AppPublish"
	AppTokenMint   Capability = "AppTokenMint"
	AppInvoke      Capability = "AppInvoke" // run a script

	AppSecretManage Capability = "AppSecretManage" // set and delete secrets, which cannot be read
	AppScriptManage Capability = "AppScriptManage" // scripts, and what makes them run
	AppScriptRead   Capability = "AppScriptRead"   // and how their runs went

	AppPinWrite Capability = "AppPinWrite" // set outputs of the board
)

// scopeOf is the one table from capability to scope.
var scopeOf = map[Capability]Scope{
	InstanceManage: ScopeInstanceAdmin,
	InstanceRead:   ScopeInstanceRead,
	AppManage:      ScopeAppAdmin,
	AppKeyManage:   ScopeAppAdmin,
	AppTopicManage: ScopeAppAdmin,
	AppDataWrite:   ScopeAppWrite,
	AppDataRead:    ScopeAppRead,
	AppSubscribe:   ScopeAppRead,
	AppTopicRead:   ScopeAppRead,
	AppRead:        ScopeAppRead,
	AppPublish:     ScopeAppPublish,
	AppTokenMint:   ScopeAppPublish,
	AppInvoke:      ScopeAppInvoke,

	AppSecretManage: ScopeAppAdmin,
	AppScriptManage: ScopeAppAdmin,
	AppScriptRead:   ScopeAppRead,

	AppPinWrite: ScopeAppWrite,
}

// ScopeOf returns the scope that c needs.
func ScopeOf(c Capability) Scope { return scopeOf[c] }

// Can is the one answer to "may p do c in app". For capabilities of the
// instance, app is empty. A principal bound to one app can do nothing in
// another, whatever its scopes say. Admin scopes include the others: app:admin
// those of its app, instance:admin all of them everywhere.
func Can(p Principal, c Capability, app string) bool {
	need, ok := scopeOf[c]
	if !ok || p.Kind == KindAnonymous {
		return false
	}
	if p.App != "" && (need.Instance() || p.App != app) {
		return false
	}
	if slices.Contains(p.Scopes, need) {
		return true
	}
	if p.App == "" && slices.Contains(p.Scopes, ScopeInstanceAdmin) {
		return true
	}
	return !need.Instance() && slices.Contains(p.Scopes, ScopeAppAdmin)
}

// CanSee reports whether p may learn that app exists: it holds some scope
// there.
func CanSee(p Principal, app string) bool {
	if p.Kind == KindAnonymous || (p.App != "" && p.App != app) {
		return false
	}
	return len(p.Scopes) > 0
}

// LocalOperator is the principal of callers on the Unix socket.
func LocalOperator() Principal {
	return Principal{Kind: KindLocal, Scopes: []Scope{ScopeInstanceAdmin}}
}

// System is the node itself. It alone may publish to system topics.
func System() Principal {
	return Principal{Kind: KindSystem, Scopes: []Scope{ScopeInstanceAdmin}}
}
