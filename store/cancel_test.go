package store_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// Callers whose context ends while the committer is at work get no answer that
// it may still write: every call of the store is cancelled at random moments,
// and what it returned is read. The race detector is the judge.
func TestCallersMayLeaveAtAnyMoment(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir()})
	ctx := t.Context()
	if _, err := s.SaveScript(ctx, picloud.Script{App: "default", Name: "door", Source: "export default () => 1"}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	trigger := picloud.Trigger{App: "default", Name: "t", Kind: picloud.TriggerKV, Script: "door", Enabled: true}
	endpoint := picloud.Endpoint{App: "default", Name: "e", Path: "/e", Script: "door"}
	saved, err := s.SaveTrigger(ctx, trigger)
	if err != nil {
		t.Fatal(err)
	}
	savedEndpoint, err := s.SaveEndpoint(ctx, endpoint)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	fresh := func(prefix string) string { n++; return fmt.Sprintf("%s%d", prefix, n) }
	one := picloud.LetterFilter{IDs: []string{"none"}}
	delivery := picloud.Delivery{App: "default", Trigger: "t", LSN: 1 << 40}
	calls := map[string]func(ctx context.Context) []any{
		"Accept": func(ctx context.Context) []any { return results(s.Accept(ctx, savedEndpoint, []byte("{}"))) },
		"AckIncidents": func(ctx context.Context) []any {
			s.Incident(fresh("loss "))
			return results(s.AckIncidents(ctx))
		},
		"Backfill":     func(ctx context.Context) []any { return results(s.Backfill(ctx, "default", "t")) },
		"Backup":       func(ctx context.Context) []any { return results(s.Backup(ctx, io.Discard)) },
		"Bury":         func(ctx context.Context) []any { return results(s.Bury(ctx, saved, delivery, "r")) },
		"CollectFiles": func(ctx context.Context) []any { return results(s.CollectFiles(ctx)) },
		"CreateAPIKey": func(ctx context.Context) []any {
			return results(s.CreateAPIKey(ctx, picloud.APIKey{ID: fresh("k"), App: "default", Scopes: []picloud.Scope{picloud.ScopeAppRead}}))
		},
		"CreateApp": func(ctx context.Context) []any { return results(s.CreateApp(ctx, picloud.App{Name: fresh("a")})) },
		"CreateTopic": func(ctx context.Context) []any {
			return results(s.CreateTopic(ctx, picloud.Topic{App: "default", Name: fresh("t")}))
		},
		"DeleteApp":        func(ctx context.Context) []any { return results(s.DeleteApp(ctx, fmt.Sprintf("a%d", n))) },
		"DeleteCollection": func(ctx context.Context) []any { return results(s.DeleteCollection(ctx, "default", "c")) },
		"DeleteDocument": func(ctx context.Context) []any {
			return results(s.DeleteDocument(ctx, picloud.Deletion{App: "default", Container: "c", Name: "d"}))
		},
		"DeleteEndpoint": func(ctx context.Context) []any { return results(s.DeleteEndpoint(ctx, "default", "f")) },
		"DeleteEntry": func(ctx context.Context) []any {
			return results(s.DeleteEntry(ctx, picloud.Deletion{App: "default", Name: "k"}))
		},
		"DeleteFile": func(ctx context.Context) []any {
			return results(s.DeleteFile(ctx, picloud.Deletion{App: "default", Name: "f"}))
		},
		"DeleteScript": func(ctx context.Context) []any {
			return results(s.DeleteScript(ctx, "default", "other", picloud.Precondition{}))
		},
		"DeleteSecret":     func(ctx context.Context) []any { return results(s.DeleteSecret(ctx, "default", "s")) },
		"DeleteTopic":      func(ctx context.Context) []any { return results(s.DeleteTopic(ctx, "default", fmt.Sprintf("t%d", n))) },
		"DeleteTrigger":    func(ctx context.Context) []any { return results(s.DeleteTrigger(ctx, "default", "u")) },
		"EnsureSigningKey": func(ctx context.Context) []any { return results(s.EnsureSigningKey(ctx, "default")) },
		"GiveUp":           func(ctx context.Context) []any { return results(s.GiveUp(ctx, saved, []uint64{1 << 40})) },
		"ChangedAfter": func(ctx context.Context) []any {
			return results(s.ChangedAfter(ctx, 0, func(picloud.ChangeKind, string, string, bool) {}))
		},
		"Heal": func(ctx context.Context) []any {
			e := picloud.Entry{App: "default", Key: fresh("h"), Value: []byte("1"), Version: 1}
			return results(s.Heal(ctx, s.LastLSN(), []picloud.Change{{Kind: picloud.ChangeKV, App: "default", Name: e.Key, Value: e}}, []uint64{0}))
		},
		"HealContent": func(ctx context.Context) []any {
			return results(s.HealContent(ctx, picloud.File{App: "default", Path: "f", Blob: "none"}, strings.NewReader("x")))
		},
		"RowsHealed": func(ctx context.Context) []any { return results(s.RowsHealed(ctx, fresh("came back "), nil)) },
		"IncrementEntry": func(ctx context.Context) []any {
			return results(s.IncrementEntry(ctx, picloud.EntryIncrement{App: "default", Key: "n", By: 1}))
		},
		"Postpone": func(ctx context.Context) []any { return results(s.Postpone(ctx, saved, delivery)) },
		"Publish": func(ctx context.Context) []any {
			return results(s.Publish(ctx, picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "x", Data: []byte("1")}}}))
		},
		"Purge": func(ctx context.Context) []any { return results(s.Purge(ctx, "default", one)) },
		"PutDocument": func(ctx context.Context) []any {
			return results(s.PutDocument(ctx, picloud.DocumentChange{App: "default", Collection: "c", Body: []byte(`{"a":1}`)}))
		},
		"PutFile": func(ctx context.Context) []any {
			return results(s.PutFile(ctx, picloud.FileChange{App: "default", Path: "f", Size: -1}, strings.NewReader("x")))
		},
		"Redrive":          func(ctx context.Context) []any { return results(s.Redrive(ctx, "default", one)) },
		"RevokeAPIKey":     func(ctx context.Context) []any { return results(s.RevokeAPIKey(ctx, fmt.Sprintf("k%d", n))) },
		"RotateSigningKey": func(ctx context.Context) []any { return results(s.RotateSigningKey(ctx, "default", time.Hour)) },
		"SaveCollection": func(ctx context.Context) []any {
			return results(s.SaveCollection(ctx, picloud.Collection{App: "default", Name: "c", Indexes: []string{fresh("f")}}))
		},
		"SaveEndpoint": func(ctx context.Context) []any {
			return results(s.SaveEndpoint(ctx, picloud.Endpoint{App: "default", Name: "f", Path: "/" + fresh("p"), Script: "door"}))
		},
		"SaveScript": func(ctx context.Context) []any {
			return results(s.SaveScript(ctx, picloud.Script{App: "default", Name: "other", Source: fresh("// ")}, picloud.Precondition{}))
		},
		"SaveTrigger": func(ctx context.Context) []any {
			return results(s.SaveTrigger(ctx, picloud.Trigger{App: "default", Name: "u", Kind: picloud.TriggerKV, Script: "door", Prefix: fresh("p")}))
		},
		"SetEntry": func(ctx context.Context) []any {
			return results(s.SetEntry(ctx, picloud.EntryChange{App: "default", Key: "k", Value: []byte("1")}))
		},
		"SetExternal": func(ctx context.Context) []any {
			return results(s.SetExternal(ctx, "default", fmt.Sprintf("t%d", n), n%2 == 0))
		},
		"SetNote": func(ctx context.Context) []any { return results(s.SetNote(ctx, "n", []byte{1})) },
		"SetResult": func(ctx context.Context) []any {
			return results(s.SetResult(ctx, "default", "r", picloud.Result{State: picloud.ResultDone}))
		},
		"SetSecret": func(ctx context.Context) []any { return results(s.SetSecret(ctx, "default", "s", []byte("v"))) },
		"MarkDone":  func(ctx context.Context) []any { return results(s.MarkDone(ctx, saved, []uint64{1 << 40})) },
		"ShareKeys": func(ctx context.Context) []any { return results(s.ShareKeys(ctx, nil, nil)) },
		"Tick":      func(ctx context.Context) []any { return results(s.Tick(ctx, saved, time.Now(), true)) },
		"Beat":      func(ctx context.Context) []any { return results(s.Beat(ctx)) },
		"Verify": func(ctx context.Context) []any {
			return results(s.Verify(ctx, func(store.Verification) error { return ctx.Err() }))
		},
		"UpdateApp": func(ctx context.Context) []any {
			text := fresh("d")
			return results(s.UpdateApp(ctx, "default", picloud.AppPatch{Description: &text}))
		},
		"UpdateTopic": func(ctx context.Context) []any {
			text := fresh("d")
			return results(s.UpdateTopic(ctx, "default", fmt.Sprintf("t%d", n), picloud.TopicPatch{Description: &text}))
		},
	}
	everyCallWithContext(t, calls)
	var load sync.WaitGroup
	ended, stop := context.WithCancel(ctx)
	load.Go(func() { // so that commands wait in groups
		for i := 0; ended.Err() == nil; i++ {
			_, _ = s.SetEntry(ended, picloud.EntryChange{App: "default", Key: "load", Value: []byte("1")})
		}
	})
	for range 40 {
		for name, call := range calls {
			cancelled, cancel := context.WithTimeout(ctx, rand.N(300*time.Microsecond)) // #nosec G404 -- moments, not secrets
			if out := fmt.Sprintf("%+v", call(cancelled)); strings.Contains(out, "panic") {
				t.Errorf("%s: %s", name, out)
			}
			cancel()
		}
	}
	stop()
	load.Wait()
}

// results makes a list of what a call returned.
func results(v ...any) []any { return v }

// everyCallWithContext fails when the store has a method with a context that is
// not called, or a call without a method.
func everyCallWithContext(t *testing.T, calls map[string]func(context.Context) []any) {
	t.Helper()
	typ := reflect.TypeFor[*store.Store]()
	contextType := reflect.TypeFor[context.Context]()
	readers := []string{"Before", "Event", "Events", "Latest", "Run", "Wait"} // never reach the committer
	for m := range typ.Methods() {
		takes := m.Type.NumIn() > 1 && m.Type.In(1) == contextType
		_, called := calls[m.Name]
		reads := false
		for _, r := range readers {
			reads = reads || r == m.Name
		}
		if takes && !called && !reads {
			t.Errorf("%s takes a context and is not called", m.Name)
		}
	}
}
