package picloud_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud"
)

func TestPatchesChangeOnlyWhatTheyName(t *testing.T) {
	t.Parallel()
	text, public, telemetry := "new", picloud.AuthPublic, picloud.DurabilityTelemetry
	origins := []string{"*"}
	app := picloud.App{Name: "a", Description: "old", AllowedOrigins: []string{"https://x"}}
	if diff := cmp.Diff(app, picloud.AppPatch{}.Apply(app)); diff != "" {
		t.Error(diff)
	}
	patched := picloud.AppPatch{AllowedOrigins: &origins}.Apply(app)
	origins[0] = "changed later"
	if patched.Description != "old" || !slices.Equal(patched.AllowedOrigins, []string{"*"}) {
		t.Errorf("patched: %+v", patched)
	}
	topic := picloud.Topic{App: "a", Name: "t", External: true, Description: "old"}.WithDefaults()
	if diff := cmp.Diff(topic, picloud.TopicPatch{}.Apply(topic)); diff != "" {
		t.Error(diff)
	}
	want := topic
	want.Description, want.AuthMode, want.Durability, want.Retention = text, public, telemetry, picloud.Retention{MaxEvents: 5}
	patch := picloud.TopicPatch{Description: &text, AuthMode: &public, Durability: &telemetry, Retention: &want.Retention}
	if diff := cmp.Diff(want, patch.Apply(topic)); diff != "" {
		t.Error(diff)
	}
}

// TP-5: what a topic leaves open is the node's default.
func TestRetentionOr(t *testing.T) {
	t.Parallel()
	node := picloud.Retention{MaxEvents: 10, MaxAge: time.Hour, MaxBytes: 100}
	if got := (picloud.Retention{MaxAge: time.Minute}).Or(node); got != (picloud.Retention{MaxEvents: 10, MaxAge: time.Minute, MaxBytes: 100}) {
		t.Errorf("Or = %+v", got)
	}
}

func TestErrorsAreFoundByType(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("publish: %w", picloud.ErrBusy.Detailf("%d waiting", 7).After(3*time.Second))
	if !errors.Is(err, picloud.ErrBusy) || errors.Is(err, picloud.ErrNoSpace) {
		t.Error("errors.Is does not go by type")
	}
	e := picloud.AsError(err)
	if e == nil || e.Detail != "7 waiting" || e.RetryAfter != 3*time.Second || e.Code != picloud.CodeUnavailable {
		t.Errorf("AsError = %+v", e)
	}
	if picloud.ErrBusy.RetryAfter != time.Second || strings.Contains(picloud.ErrBusy.Detail, "7") {
		t.Error("the sentinel itself was changed")
	}
	if picloud.AsError(errors.New("internal")) != nil || picloud.AsError(nil) != nil {
		t.Error("an internal error is shown")
	}
}

// AU-6: neither hashes nor secrets reach a log.
func TestKeysKeepTheirSecretsOutOfLogs(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&b, nil))
	fill := [32]byte(bytes.Repeat([]byte{171}, 32))
	log.Info("keys", slog.Any("a", picloud.APIKey{ID: "k1", App: "shop", Hash: fill}), slog.Any("s", picloud.SigningKey{ID: "s1", App: "shop", Secret: fill}))
	if out := b.String(); strings.Contains(out, "171,171") || !strings.Contains(out, "k1") || !strings.Contains(out, "s1") {
		t.Errorf("logged %s", out)
	}
}

func TestKeyPrincipal(t *testing.T) {
	t.Parallel()
	expires := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	k := picloud.APIKey{ID: "k1", App: "shop", Scopes: []picloud.Scope{picloud.ScopeAppRead}, ExpiresAt: expires}
	want := picloud.Principal{Kind: picloud.KindKey, Name: "k1", App: "shop", Scopes: k.Scopes, Expires: expires}
	if diff := cmp.Diff(want, k.Principal()); diff != "" {
		t.Error(diff)
	}
}

// TR-2: system topics set off only triggers that name them.
func TestSystemTopicsMatchWhereTheyAreNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		topic, prefix, event string
		want                 bool
	}{
		{"", "", "door", true},
		{"", "", "$node/sync", false},
		{"", "door", "$node/sync", false},
		{"", "$", "$node/sync", true},
		{"", "$node/", "$node/sync", true},
		{"$node/sync", "", "$node/sync", true},
		{"$node/sync", "", "door", false},
	} {
		tr := picloud.Trigger{Kind: picloud.TriggerPubSub, Topic: c.topic, Prefix: c.prefix}
		if got := tr.Matches(c.event); got != c.want {
			t.Errorf("topic %q, prefix %q: %s matches: %v", c.topic, c.prefix, c.event, got)
		}
	}
}
