package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

const (
	keyedRequest     = `{"input":1,"about":{"caller":{"kind":"key","name":"k"}}}`
	anonymousRequest = `{"input":1,"about":{"caller":null}}`
)

// endpoint makes an app, if need be, with an endpoint for requests that are answered
// later.
func (r *running) endpoint(t *testing.T, app string) picloud.Endpoint {
	t.Helper()
	if _, err := r.CreateApp(t.Context(), picloud.App{Name: app}); err != nil && !errors.Is(err, picloud.ErrAppExists) {
		t.Fatal(err)
	}
	if _, err := r.SaveScript(t.Context(), picloud.Script{App: app, Name: "s", Source: "//"}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	e, err := r.SaveEndpoint(t.Context(), picloud.Endpoint{App: app, Name: "e", Path: "/x", Script: "s"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (r *running) usage(t *testing.T, app string) picloud.Usage {
	t.Helper()
	u, err := r.Usage(app)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// SR-3: what an app keeps is counted exactly, whatever it does: after orderly and
// sudden ends, a backup, and when the app is deleted.
func TestUsageIsExact(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(11, 5))
	clock := newTestClock()
	cfg := store.Config{Dir: t.TempDir(), Now: clock.Now, CheckpointBytes: 30_000}
	s := start(t, cfg)
	ctx := t.Context()
	same := func(s *running, when string) {
		t.Helper()
		for _, app := range []string{"default", "shop"} {
			got, want := s.Counted(app), s.Recounted(app)
			for deadline := time.Now().Add(5 * time.Second); got != want && time.Now().Before(deadline); { // the committer may be writing records of runs
				got, want = s.Counted(app), s.Recounted(app)
			}
			if got != want {
				t.Fatalf("%s, app %s is said to keep\n%s, but keeps\n%s", when, app, got, want)
			}
		}
	}
	endpoint := s.endpoint(t, "shop")
	var results []string
	for step := range 1500 {
		key, data := fmt.Sprint("k", rnd.IntN(30)), []byte(`"`+strings.Repeat("x", rnd.IntN(300))+`"`)
		app := []string{"default", "shop"}[rnd.IntN(2)]
		var err error
		switch rnd.IntN(14) {
		case 0, 1:
			_, err = s.SetEntry(ctx, picloud.EntryChange{App: app, Key: key, Value: data, TTL: time.Duration(rnd.IntN(3)) * time.Minute})
		case 2:
			err = s.DeleteEntry(ctx, picloud.Deletion{App: app, Name: key})
		case 3:
			_, err = s.IncrementEntry(ctx, picloud.EntryIncrement{App: app, Key: "n" + key, By: rnd.Int64N(1000)})
		case 4, 5:
			_, err = s.PutDocument(ctx, picloud.DocumentChange{App: app, Collection: "c" + key[1:2], ID: key, Body: []byte(`{"a":` + string(data) + `}`)})
		case 6:
			err = s.DeleteDocument(ctx, picloud.Deletion{App: app, Container: "c" + key[1:2], Name: key})
		case 7:
			if rnd.IntN(10) == 0 {
				err = s.DeleteCollection(ctx, app, "c1")
			}
		case 8:
			_, err = s.PutFile(ctx, picloud.FileChange{App: app, Path: key, Size: -1}, bytes.NewReader(data))
		case 9:
			err = s.DeleteFile(ctx, picloud.Deletion{App: app, Name: key})
		case 10:
			_, err = s.Publish(ctx, picloud.Publication{App: app, By: picloud.LocalOperator(), IdempotencyKey: key + fmt.Sprint(step%700), Drafts: []picloud.Draft{{Topic: "t", Data: data}}})
		case 11:
			var id string
			id, err = s.Accept(ctx, endpoint, []byte([]string{keyedRequest, anonymousRequest}[rnd.IntN(2)]))
			results = append(results, id)
		case 12:
			if len(results) > 0 {
				err = s.SetResult(ctx, "shop", results[0], picloud.Result{State: picloud.ResultDone, Output: data})
				results = results[1:]
			}
		case 13:
			_, err = s.SaveScript(ctx, picloud.Script{App: app, Name: "s", Source: "//" + string(data)}, picloud.Precondition{})
			s.RecordRun(picloud.Run{App: app, Script: "s", Error: string(data)})
		}
		if err != nil && picloud.AsError(err).Code != picloud.CodeNotFound && !errors.Is(err, picloud.ErrIdempotencyReused) && !errors.Is(err, picloud.ErrResultsFull) {
			t.Fatal(err)
		}
		clock.move(time.Duration(rnd.IntN(4000)) * time.Millisecond)
		switch step % 300 {
		case 100:
			same(start(t, store.Config{Dir: copyDir(t, cfg.Dir), Now: clock.Now}), "after a kill")
		case 200:
			s.stop(t)
			s = start(t, cfg)
			same(s, "after a restart")
		default:
			same(s, fmt.Sprint("after step ", step))
		}
	}
	s.stop(t) // with all records of runs
	s = start(t, cfg)
	var archive bytes.Buffer
	if err := s.Backup(ctx, &archive); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() + "/restored"
	if _, err := store.Restore(store.Config{Dir: dir, Now: clock.Now}, store.Archived{From: &archive}); err != nil {
		t.Fatal(err)
	}
	restored := start(t, store.Config{Dir: dir, Now: clock.Now})
	same(restored, "after a restore")
	if got, want := restored.Counted("shop"), s.Counted("shop"); got != want {
		t.Errorf("restored: %s, want %s", got, want)
	}
	if err := s.DeleteApp(ctx, "shop"); err != nil {
		t.Fatal(err)
	}
	same(s, "after the app was deleted")
	none := start(t, store.Config{Dir: t.TempDir()}).Counted("shop")
	if got := s.Counted("shop"); got != none {
		t.Errorf("a deleted app keeps %s", got)
	}
	s.stop(t)
	if got := start(t, cfg).Counted("shop"); got != none {
		t.Errorf("after a restart a deleted app keeps %s", got)
	}
}

// SR-3: an app keeps as much data as it may, of whatever kind it is. What needs no more
// room, and what makes some, goes on; so do publishing and other apps.
func TestDataHasAQuota(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	big := bytes.Repeat([]byte("x"), 300_000)
	text := []byte(`"` + string(big) + `"`)
	put := map[string]func(s *running, app, name string, n int) error{
		"a key-value pair": func(s *running, app, name string, n int) error {
			_, err := s.SetEntry(t.Context(), picloud.EntryChange{App: app, Key: name, Value: big[:n], Binary: true})
			return err
		},
		"a document": func(s *running, app, name string, n int) error {
			_, err := s.PutDocument(t.Context(), picloud.DocumentChange{App: app, Collection: "c", ID: name, Body: append(append([]byte(`{"a":`), append(text[:n:n], '"')...), '}')})
			return err
		},
		"a file": func(s *running, app, name string, n int) error {
			_, err := s.PutFile(t.Context(), picloud.FileChange{App: app, Path: name, Size: int64(n)}, bytes.NewReader(big[:n]))
			return err
		},
		"a file of unknown size": func(s *running, app, name string, n int) error {
			_, err := s.PutFile(t.Context(), picloud.FileChange{App: app, Path: "u" + name, Size: -1}, bytes.NewReader(big[:n]))
			return err
		},
	}
	for name, set := range put {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := store.Config{Dir: t.TempDir(), DataBytes: limit, MaxFile: 300_000, SegmentSize: 8 << 20}
			s := start(t, cfg)
			if _, err := s.CreateApp(t.Context(), picloud.App{Name: "other"}); err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				if err := set(s, "default", fmt.Sprint(i), 300_000); err != nil {
					t.Fatal(err)
				}
			}
			for other, one := range put {
				if err := one(s, "default", "more", 200_000); !errors.Is(err, picloud.ErrAppFull) {
					t.Errorf("%s more: %v", other, err)
				}
			}
			s.stop(t)
			s = start(t, cfg)
			if err := set(s, "default", "more", 200_000); !errors.Is(err, picloud.ErrAppFull) {
				t.Errorf("after a restart: %v", err)
			}
			if u := s.usage(t, "default"); u.Data.Items != 3 || u.Data.Bytes < 900_000 || u.Data.Bytes > 901_000 || u.Data.MaxBytes != limit {
				t.Errorf("%+v", u.Data)
			}
			if err := set(s, "default", "0", 250_000); err != nil {
				t.Errorf("less in its place: %v", err)
			}
			if err := set(s, "other", "0", 300_000); err != nil {
				t.Errorf("another app: %v", err)
			}
			publish(t, s, "default", "t", "1")
			if err := set(s, "default", "more", 150_000); err != nil {
				t.Errorf("what fits: %v", err)
			}
			s.stop(t)
			cfg.DataBytes = 100 // by an operator, later
			s = start(t, cfg)
			for _, del := range []func() error{
				func() error { return s.DeleteEntry(t.Context(), picloud.Deletion{App: "default", Name: "0"}) },
				func() error {
					return s.DeleteDocument(t.Context(), picloud.Deletion{App: "default", Container: "c", Name: "0"})
				},
				func() error { return s.DeleteFile(t.Context(), picloud.Deletion{App: "default", Name: "0"}) },
			} {
				if err := del(); err != nil && picloud.AsError(err).Code != picloud.CodeNotFound {
					t.Errorf("what makes room: %v", err)
				}
			}
		})
	}
}

// SR-3: contents that arrive at the same time leave the reserve of the disk to others,
// and do not overdraw the quota of their app together.
func TestUploadsShareTheRoom(t *testing.T) {
	t.Parallel()
	const limit = 64 << 20
	s := start(t, store.Config{Dir: t.TempDir(), DataBytes: limit, MaxFile: 1 << 50, ReserveBytes: 1 << 20})
	begun, hold := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		_, err := s.PutFile(t.Context(), picloud.FileChange{App: "default", Path: "a", Size: limit / 4 * 3}, &stalled{begun: begun, until: hold})
		first <- err
	}()
	<-begun
	_, err := s.PutFile(t.Context(), picloud.FileChange{App: "default", Path: "b", Size: limit / 2}, strings.NewReader("x"))
	if !errors.Is(err, picloud.ErrAppFull) {
		t.Errorf("beyond the quota together: %v", err)
	}
	close(hold)
	if err := <-first; err == nil {
		t.Error("a content that broke off was kept")
	}
	if _, err := s.PutFile(t.Context(), picloud.FileChange{App: "default", Path: "b", Size: limit / 2}, strings.NewReader("x")); err != nil {
		t.Errorf("when the other is gone: %v", err)
	}

	free := freeBytes(t, t.TempDir())
	s = start(t, store.Config{Dir: t.TempDir(), MaxFile: 1 << 50, ReserveBytes: free / 2})
	begun, hold = make(chan struct{}), make(chan struct{})
	go func() {
		_, err := s.PutFile(t.Context(), picloud.FileChange{App: "default", Path: "a", Size: free / 3}, &stalled{begun: begun, until: hold})
		first <- err
	}()
	<-begun
	_, err = s.PutFile(t.Context(), picloud.FileChange{App: "default", Path: "b", Size: free / 3}, strings.NewReader("x"))
	if !errors.Is(err, picloud.ErrNoSpace) {
		t.Errorf("into the reserve together: %v", err)
	}
	close(hold)
	<-first
	if _, err := s.PutFile(t.Context(), picloud.FileChange{App: "default", Path: "b", Size: free / 3}, strings.NewReader("x")); err != nil {
		t.Errorf("when the other is gone: %v", err)
	}
}

func freeBytes(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * int64(st.Bsize) //nolint:unconvert // its type differs between boards
}

// stalled is a content that breaks off.
type stalled struct{ begun, until chan struct{} }

func (r *stalled) Read([]byte) (int, error) {
	close(r.begun)
	<-r.until
	return 0, errors.New("broken off")
}
