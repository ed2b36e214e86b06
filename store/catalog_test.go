package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// RT-9: rights that end are told to the broadcaster.
func TestRevocationsAreTold(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir()})
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.CreateApp(ctx, picloud.App{Name: "a"})
	must(err)
	for _, name := range []string{"x", "y"} {
		_, err = s.CreateTopic(ctx, picloud.Topic{App: "a", Name: name, External: true, AuthMode: picloud.AuthPublic})
		must(err)
	}
	key, err := s.EnsureSigningKey(ctx, "a")
	must(err)
	api, err := s.CreateAPIKey(ctx, picloud.APIKey{ID: "k1", App: "a", Scopes: []picloud.Scope{picloud.ScopeAppRead}})
	must(err)
	steps := []struct {
		name string
		do   func() error
		want picloud.Revocation
	}{
		{"token needed", func() error {
			m := picloud.AuthToken
			_, err := s.UpdateTopic(ctx, "a", "x", picloud.TopicPatch{AuthMode: &m})
			return err
		}, picloud.Revocation{App: "a", Topic: "x", OutsideOnly: true}},
		{"internal", func() error { _, err := s.SetExternal(ctx, "a", "x", false); return err }, picloud.Revocation{App: "a", Topic: "x", OutsideOnly: true}},
		{"topic deleted", func() error { return s.DeleteTopic(ctx, "a", "y") }, picloud.Revocation{App: "a", Topic: "y"}},
		{"rotated", func() error { _, err := s.RotateSigningKey(ctx, "a", 0); return err }, picloud.Revocation{App: "a", SigningKey: key.ID}},
		{"key revoked", func() error { return s.RevokeAPIKey(ctx, api.ID) }, picloud.Revocation{App: "a", APIKey: api.ID}},
		{"app deleted", func() error { return s.DeleteApp(ctx, "a") }, picloud.Revocation{App: "a"}},
	}
	for _, step := range steps {
		must(step.do())
		got := s.heard.revocations()
		if len(got) == 0 || got[len(got)-1] != step.want {
			t.Errorf("%s: told %+v, want %+v", step.name, got, step.want)
		}
	}
}

// TK-1, TK-3: two racing creators end with one key; a rotation keeps the old
// one for the overlap.
func TestSigningKeys(t *testing.T) {
	t.Parallel()
	clk := newClock()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir, Now: clk.Now})
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() {
			k, err := s.EnsureSigningKey(t.Context(), "default")
			if err != nil {
				t.Error(err)
			}
			ids[i] = k.ID
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Fatalf("keys %v, want one", ids)
		}
	}
	fresh, err := s.RotateSigningKey(t.Context(), "default", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.SigningKeys("default"); len(got) != 2 || got[0].ID != fresh.ID || got[1].ID != ids[0] {
		t.Errorf("after rotation %v", got)
	}
	clk.move(time.Hour)
	if got := s.SigningKeys("default"); len(got) != 1 || got[0].ID != fresh.ID {
		t.Errorf("after the overlap %v", got)
	}
	if _, err := s.EnsureSigningKey(t.Context(), "nobody"); !errors.Is(err, picloud.ErrAppNotFound) {
		t.Errorf("key of a missing app: %v", err)
	}
}

// An app that is deleted and made again begins a history of its own, with
// positions that were never used.
func TestDeletedAppStaysGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir})
	ctx := t.Context()
	for range 2 {
		if _, err := s.CreateApp(ctx, picloud.App{Name: "a"}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.CreateTopic(ctx, picloud.Topic{App: "a", Name: "t"}); err != nil {
			t.Fatal(err)
		}
		before, err := s.Head("a")
		if err != nil {
			t.Fatal(err)
		}
		e := publish(t, s, "a", "t", `1`)
		if got := history(t, s, "a", "t"); fmt.Sprint(got) != fmt.Sprintf("[%d t 1]", before.Seq+1) {
			t.Errorf("history %v", got)
		}
		if err := s.DeleteApp(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Event(ctx, "a", e[0].Position); !errors.Is(err, picloud.ErrAppNotFound) {
			t.Errorf("event of a deleted app: %v", err)
		}
		s.stop(t)
		s = start(t, store.Config{Dir: dir})
	}
	if err := s.DeleteApp(ctx, picloud.DefaultApp); !errors.Is(err, picloud.ErrAppProtected) {
		t.Errorf("default deleted: %v", err)
	}
}

// A deleted topic's history is gone for good, also for a new topic of its name.
func TestDeletedTopicHidesItsHistory(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir()})
	ctx := t.Context()
	if _, err := s.CreateTopic(ctx, picloud.Topic{App: "default", Name: "t"}); err != nil {
		t.Fatal(err)
	}
	publish(t, s, "default", "t", `1`)
	if err := s.DeleteTopic(ctx, "default", "t"); err != nil {
		t.Fatal(err)
	}
	publish(t, s, "default", "t", `2`)
	if _, err := s.CreateTopic(ctx, picloud.Topic{App: "default", Name: "t"}); err != nil {
		t.Fatal(err)
	}
	if got := history(t, s, "default", "t"); fmt.Sprint(got) != "[2 t 2]" {
		t.Errorf("history %v", got)
	}
}

// Commands that fail leave no trace, and the catalog is the same after a
// restart (TP-1, AU-2).
func TestCatalogSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir})
	ctx := t.Context()
	_, _ = s.CreateTopic(ctx, picloud.Topic{App: "default", Name: "t", Description: "d", Retention: picloud.Retention{MaxEvents: 5}})
	if _, err := s.CreateTopic(ctx, picloud.Topic{App: "default", Name: "t"}); !errors.Is(err, picloud.ErrTopicExists) {
		t.Errorf("second create: %v", err)
	}
	if _, err := s.CreateTopic(ctx, picloud.Topic{App: "none", Name: "t"}); !errors.Is(err, picloud.ErrAppNotFound) {
		t.Errorf("topic of a missing app: %v", err)
	}
	if _, err := s.CreateApp(ctx, picloud.App{Name: "default"}); !errors.Is(err, picloud.ErrAppExists) {
		t.Errorf("second default: %v", err)
	}
	key := picloud.APIKey{ID: "k", Label: "l", Scopes: []picloud.Scope{picloud.ScopeInstanceAdmin}, Hash: [32]byte{1}, ExpiresAt: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	made, err := s.CreateAPIKey(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	s.TouchAPIKey("k", time.Now())
	publish(t, s, "default", "t", `1`) // takes the touch along
	topics, _ := s.Topics("default")
	s.stop(t)
	s = start(t, store.Config{Dir: dir})
	again, err := s.Topics("default")
	if err != nil || len(again) != 1 || again[0] != topics[0] {
		t.Errorf("topics %+v, want %+v", again, topics)
	}
	k, ok := s.APIKey("k")
	if !ok || k.Hash != made.Hash || !k.ExpiresAt.Equal(made.ExpiresAt) || k.Label != "l" || k.LastUsedAt.IsZero() {
		t.Errorf("key %+v, want %+v", k, made)
	}
}

// OP-8: an idle node writes nothing, and neither does a start and stop more
// than the note that it stopped.
func TestIdleNodeIsQuiet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir})
	publish(t, s, "default", "t", `1`)
	s.stop(t)
	last := s.Stats().LastLSN
	for range 3 {
		s = start(t, store.Config{Dir: dir})
		if _, err := s.Head("default"); err != nil {
			t.Fatal(err)
		}
		s.stop(t)
		if got := s.Stats().LastLSN; got != last {
			t.Fatalf("record %d was written after %d by a node that did nothing", got, last)
		}
	}
}
