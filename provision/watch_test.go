package provision_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/logtest"
	"github.com/picloud/picloud/provision"
	"github.com/picloud/picloud/store"
)

// watch runs a Watcher of dir until the test ends.
func watch(t *testing.T, st *store.Store, dir string) *logtest.Buffer {
	t.Helper()
	log := new(logtest.Buffer)
	w := provision.NewWatcher(provision.WatcherConfig{Dir: dir, Store: st, Settle: 10 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return log
}

// eventually polls: the kernel reports changes of files when it likes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("in 20 seconds: %s", what)
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Apps are created and changed as their files are written, even when the folder itself
// is created after the start.
func TestWatcherAppliesChanges(t *testing.T) {
	t.Parallel()
	st, dir := open(t), filepath.Join(t.TempDir(), "apps.d")
	watch(t, st, dir)
	described := func(app, text string) func() bool {
		return func() bool {
			a, err := st.App(app)
			return err == nil && a.Description == text
		}
	}
	write(t, filepath.Join(dir, "shop", "app.toml"), `description = "first"`)
	eventually(t, "shop is not created", described("shop", "first"))
	write(t, filepath.Join(dir, "shop", "app.toml"), `description = "second"`)
	eventually(t, "shop is not changed", described("shop", "second"))
	write(t, filepath.Join(dir, "shop", "scripts", "a.js"), `export default () => 1`)
	eventually(t, "the script is not saved", func() bool {
		_, err := st.Script("shop", "a")
		return err == nil
	})
}

// A directory with a fault does not hold up the others, and its fault is logged once
// until it changes. A second directory of the same app is a fault.
func TestWatcherLogsAFaultOnce(t *testing.T) {
	t.Parallel()
	st, dir := open(t), t.TempDir()
	write(t, filepath.Join(dir, "a", "app.toml"), `nonsense = 1`)
	write(t, filepath.Join(dir, "b", "app.toml"), `name = "shop"`)
	write(t, filepath.Join(dir, "c", "app.toml"), `name = "shop"`)
	write(t, filepath.Join(dir, "d", "readme.txt"), `no app`)
	log := watch(t, st, dir)
	created := func(app string) func() bool {
		return func() bool {
			_, err := st.App(app)
			return err == nil
		}
	}
	eventually(t, "shop is not created", created("shop"))
	write(t, filepath.Join(dir, "e", "app.toml"), `name = "till"`) // everything is read again
	eventually(t, "till is not created", created("till"))
	for text, want := range map[string]int{"the key nonsense is not known": 1, "which " + filepath.Join(dir, "b") + " is already": 1, "could not be applied": 2} {
		if got := log.Count(text); got != want {
			t.Errorf("%q is logged %d times, want %d", text, got, want)
		}
	}
	write(t, filepath.Join(dir, "a", "app.toml"), `other = 1`)
	eventually(t, "the other fault is not logged", func() bool { return log.Count("other is not known") == 1 })
}

// relink puts a link in the place of another.
func relink(t *testing.T, target, link string) {
	t.Helper()
	if err := os.Symlink(target, link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
}

// Changes behind links are applied, too: in a folder elsewhere, in the one that takes its place, and
// in one that Kubernetes swaps within the folder of the app.
func TestWatcherFollowsLinks(t *testing.T) {
	t.Parallel()
	described := func(st *store.Store, app, text string) func() bool {
		return func() bool {
			a, err := st.App(app)
			return err == nil && a.Description == text
		}
	}
	t.Run("folder of an app", func(t *testing.T) {
		t.Parallel()
		st, dir, elsewhere := open(t), t.TempDir(), t.TempDir()
		write(t, filepath.Join(elsewhere, "v1", "app.toml"), "name = 'shop'\ndescription = 'first'")
		write(t, filepath.Join(elsewhere, "v2", "app.toml"), "name = 'shop'\ndescription = 'second'")
		relink(t, filepath.Join(elsewhere, "v1"), filepath.Join(elsewhere, "current"))
		relink(t, filepath.Join(elsewhere, "current"), filepath.Join(dir, "shop"))
		watch(t, st, dir)
		eventually(t, "shop is not created", described(st, "shop", "first"))
		relink(t, filepath.Join(elsewhere, "v2"), filepath.Join(elsewhere, "current"))
		eventually(t, "the other folder is not applied", described(st, "shop", "second"))
		write(t, filepath.Join(elsewhere, "v2", "app.toml"), "name = 'shop'\ndescription = 'third'")
		eventually(t, "the file behind it is not applied", described(st, "shop", "third"))
		write(t, filepath.Join(elsewhere, "v2", "scripts", "a.js"), `export default () => 1`)
		eventually(t, "the script is not saved", func() bool {
			_, err := st.Script("shop", "a")
			return err == nil
		})
	})
	t.Run("files of an app", func(t *testing.T) {
		t.Parallel()
		st, dir := open(t), t.TempDir()
		app := filepath.Join(dir, "shop")
		write(t, filepath.Join(app, "..v1", "app.toml"), "description = 'first'")
		write(t, filepath.Join(app, "..v1", "a.js"), `export default () => 1`)
		write(t, filepath.Join(app, "..v2", "app.toml"), "description = 'second'")
		write(t, filepath.Join(app, "..v2", "a.js"), `export default () => 2`)
		relink(t, "..v1", filepath.Join(app, "..data"))
		relink(t, "..data/app.toml", filepath.Join(app, "app.toml"))
		relink(t, "..data/a.js", filepath.Join(app, "a.js"))
		watch(t, st, dir)
		eventually(t, "shop is not created", described(st, "shop", "first"))
		relink(t, "..v2", filepath.Join(app, "..data"))
		eventually(t, "the other files are not applied", described(st, "shop", "second"))
		write(t, filepath.Join(app, "..v2", "a.js"), `export default () => 3`)
		eventually(t, "the script behind a link is not saved", func() bool {
			s, err := st.Script("shop", "a")
			return err == nil && strings.Contains(s.Source, "=> 3")
		})
	})
}

// A folder of apps that is none is told once, and used when it is one.
func TestWatcherOfAFile(t *testing.T) {
	t.Parallel()
	st, dir := open(t), filepath.Join(t.TempDir(), "apps.d")
	write(t, dir, "")
	log := watch(t, st, dir)
	eventually(t, "the fault is not told", func() bool { return log.Count("apps cannot be read") > 0 })
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "shop", "app.toml"), "")
	eventually(t, "shop is not created", func() bool {
		_, err := st.App("shop")
		return err == nil
	})
	if got := log.Count("apps cannot be read"); got != 1 {
		t.Errorf("the fault is logged %d times", got)
	}
}
