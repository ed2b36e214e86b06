package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

func keyIDs(keys []picloud.SigningKey) (ids []string) {
	for _, k := range keys {
		ids = append(ids, k.ID)
	}
	return ids
}

// TK-3: keys of other nodes are known here, over a restart too; losing the cache
// loses nothing but them.
func TestSharedKeysSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := store.Config{Dir: dir, Readers: []string{picloud.Central}}
	s := start(t, cfg)
	own, err := s.EnsureSigningKey(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	other := picloud.SigningKey{ID: "other", App: "default", Secret: [32]byte{7}, CreatedAt: own.CreatedAt.Add(-time.Hour)}
	if err := s.ShareKeys(t.Context(), []picloud.SigningKey{own, other}, nil); err != nil {
		t.Fatal(err)
	}
	has := func(s *running, want ...string) {
		t.Helper()
		got := keyIDs(s.SigningKeys("default"))
		if len(got) != len(want) {
			t.Fatalf("keys %v, want %v", got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("keys %v, want %v", got, want)
			}
		}
	}
	has(s, own.ID, "other")
	s.stop(t)
	s = start(t, cfg)
	has(s, own.ID, "other")
	s.stop(t)
	if err := os.WriteFile(filepath.Join(dir, "cache.db"), []byte("ruin"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = start(t, cfg)
	has(s, own.ID)
	if s.Health().Degraded {
		t.Errorf("a lost cache is no fault: %+v", s.Health())
	}
	if err := s.ShareKeys(t.Context(), []picloud.SigningKey{own, other}, nil); err != nil {
		t.Fatal(err)
	}
	has(s, own.ID, "other")
}

// A node that has no key of its own signs with the one that another has made.
func TestOneKeyServesAllNodes(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir(), Readers: []string{picloud.Central}})
	other := picloud.SigningKey{ID: "other", App: "default", Secret: [32]byte{7}, CreatedAt: time.Now()}
	if err := s.ShareKeys(t.Context(), []picloud.SigningKey{other}, nil); err != nil {
		t.Fatal(err)
	}
	if k, err := s.EnsureSigningKey(t.Context(), "default"); err != nil || k != other {
		t.Errorf("%v, %v", k, err)
	}
}

// TK-3, RT-9: a rotation elsewhere ends keys and streams here, own ones too,
// after the overlap; and one here ends those of others.
func TestRotationElsewhereEndsKeysHere(t *testing.T) {
	t.Parallel()
	now := newClock()
	s := start(t, store.Config{Dir: t.TempDir(), Readers: []string{picloud.Central}, Now: now.Now})
	own, err := s.EnsureSigningKey(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	other := picloud.SigningKey{ID: "other", App: "default", Secret: [32]byte{7}, CreatedAt: now.Now()}
	share := func(keys ...picloud.SigningKey) {
		t.Helper()
		if err := s.ShareKeys(t.Context(), keys, nil); err != nil {
			t.Fatal(err)
		}
	}
	share(own, other)
	end := now.Now().Add(time.Hour)
	old1, old2, fresh := own, other, picloud.SigningKey{ID: "fresh", App: "default", Secret: [32]byte{8}, CreatedAt: now.Now()}
	old1.RetiresAt, old2.RetiresAt = end, end
	share(old1, old2, fresh)
	if k, err := s.EnsureSigningKey(t.Context(), "default"); err != nil || k.ID != "fresh" {
		t.Errorf("it signs with %v, %v", k, err)
	}
	ended := map[string]time.Time{}
	for _, r := range s.heard.revocations() {
		ended[r.SigningKey] = r.At
	}
	if len(ended) != 2 || !ended[own.ID].Equal(end) || !ended["other"].Equal(end) {
		t.Errorf("streams were told %v", ended)
	}
	now.move(2 * time.Hour)
	if got := keyIDs(s.SigningKeys("default")); len(got) != 1 || got[0] != "fresh" {
		t.Errorf("valid are %v", got)
	}
	mine, err := s.RotateSigningKey(t.Context(), "default", 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := keyIDs(s.SigningKeys("default")); len(got) != 1 || got[0] != mine.ID {
		t.Errorf("after a rotation here valid are %v", got)
	}
	revoked := s.heard.revocations()
	if last := revoked[len(revoked)-1]; last.SigningKey != "fresh" || !last.At.IsZero() {
		t.Errorf("streams were told %+v", last)
	}
}

// SR-5: keys of a deleted app are good for nothing in the app that gets its name next:
// neither those in the cache, nor those that the database still has of this node.
func TestSigningKeysGoWithTheirApp(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir(), Readers: []string{picloud.Central}}
	s := start(t, cfg)
	ctx := t.Context()
	create := func() {
		t.Helper()
		if _, err := s.CreateApp(ctx, picloud.App{Name: "shop"}); err != nil {
			t.Fatal(err)
		}
	}
	create()
	old, err := s.EnsureSigningKey(ctx, "shop")
	if err != nil {
		t.Fatal(err)
	}
	inDatabase := func() {
		t.Helper()
		if err := s.ShareKeys(ctx, []picloud.SigningKey{old}, map[string]bool{old.ID: true}); err != nil {
			t.Fatal(err)
		}
	}
	inDatabase()
	if err := s.DeleteApp(ctx, "shop"); err != nil {
		t.Fatal(err)
	}
	create()
	for _, moment := range []string{"at once", "after the database was asked", "after a restart"} {
		switch moment {
		case "after the database was asked":
			inDatabase()
		case "after a restart":
			s.stop(t)
			s = start(t, cfg)
		}
		for _, k := range s.SigningKeys("shop") {
			if k.ID == old.ID {
				t.Errorf("%s the key of the deleted app is good", moment)
			}
		}
	}
}

// TK-3: the database tells of keys while apps are deleted. The race detector is the judge.
func TestKeysAreSharedWhileAppsAreDeleted(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir()})
	deleted, stop := context.WithCancel(t.Context())
	var told sync.WaitGroup
	told.Go(func() {
		for i := 0; deleted.Err() == nil; i++ {
			key := picloud.SigningKey{ID: "other", App: fmt.Sprintf("a%d", i%4), Secret: [32]byte{7}, CreatedAt: time.Now()}
			if err := s.ShareKeys(t.Context(), []picloud.SigningKey{key}, nil); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range 100 {
		app := picloud.App{Name: fmt.Sprintf("a%d", i%4)}
		if _, err := s.CreateApp(t.Context(), app); err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteApp(t.Context(), app.Name); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	told.Wait()
}
