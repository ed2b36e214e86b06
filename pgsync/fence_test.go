package pgsync_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/pgsync"
	"github.com/picloud/picloud/pgsync/pgtest"
	"github.com/picloud/picloud/store"
)

// clone copies a data directory as dd copies a card.
func clone(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "clone")
	if out, err := exec.Command("cp", "-r", dir, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_ = os.Remove(filepath.Join(to, "lock"))
	return to
}

func waiting(text string) func(dispatch.Status) bool {
	return func(st dispatch.Status) bool {
		return st.State == dispatch.StateWaiting && strings.Contains(st.Error+"; "+st.Advice, text)
	}
}

// PG-4: of a card and its copy the first to sync goes on, and the other stops
// with a message that says what to do. Both keep publishing, and nothing of the
// second reaches the tables.
func TestClonedCardIsToldApart(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := start(t, dir, url)
	n.publish(t, "a", `"before"`)
	n.drained(t)
	n.stop()
	copied1 := clone(t, dir)

	n = start(t, dir, url)
	n.publish(t, "a", `"original"`)
	n.drained(t)
	twin := start(t, copied1, url)
	twin.publish(t, "a", `"twin"`)
	twin.until(t, "the copy is refused", waiting("new-identity"))
	n.publish(t, "a", `"original goes on"`)
	n.drained(t)
	twin.until(t, "the copy stays refused", waiting("new-identity"))
	same(t, copied(t, url), published(t, n, "a"))
}

// The same while the original is connected: at another place the copy waits,
// and learns that the original lives; it never takes over.
func TestCloneWaitsWhileTheOriginalLives(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	fast := func(_ *pgsync.Config, dc *dispatch.Config) { dc.TickEvery = 50 * time.Millisecond }
	n := start(t, dir, url, fast)
	n.publish(t, "a", `1`)
	n.drained(t)
	twin := start(t, clone(t, dir), url, func(pc *pgsync.Config, _ *dispatch.Config) { pc.Lease = time.Second })
	twin.until(t, "the copy waits", waiting("has been seen elsewhere"))
	for range 3 {
		n.publish(t, "a", `2`)
		n.drained(t)
	}
	if st := twin.lane.Status(); st.Connected() {
		t.Errorf("the copy is %+v", st)
	}
	same(t, copied(t, url), published(t, n, "a"))
}

// A node that was started again somewhere else, after the plug was pulled, goes
// on as soon as its old session must be dead.
func TestLeaseRunsOut(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := start(t, dir, url)
	n.publish(t, "a", `1`)
	n.drained(t)
	pulled := clone(t, dir)
	n.lane.Poke()
	// A lease that is long enough for the wait to be seen on a busy machine.
	n = start(t, pulled, url, func(pc *pgsync.Config, _ *dispatch.Config) { pc.Lease = 3 * time.Second })
	n.until(t, "it waits for the lease", waiting("has been seen elsewhere"))
	n.publish(t, "a", `2`)
	n.drained(t)
	same(t, copied(t, url), published(t, n, "a"))
}

// PG-5: when a node was restored elsewhere, its old card is fenced off.
func TestOldCardIsFencedOff(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := start(t, dir, url)
	n.publish(t, "a", `1`, `2`)
	if _, err := n.SaveScript(t.Context(), picloud.Script{App: "default", Name: "door", Source: "//"}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.SaveTrigger(t.Context(), picloud.Trigger{App: "default", Name: "bell", Kind: picloud.TriggerKV, Script: "door"}); err != nil {
		t.Fatal(err)
	}
	n.drained(t)
	var archive bytes.Buffer
	if err := n.Backup(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	n.publish(t, "a", `"after the backup"`)
	n.drained(t)
	before := published(t, n, "a")
	n.stop()

	restored := filepath.Join(t.TempDir(), "restored")
	if _, err := store.Restore(store.Config{Dir: restored}, store.Archived{From: &archive}); err != nil {
		t.Fatal(err)
	}
	fresh := start(t, restored, url)
	fresh.publish(t, "a", `"restored"`)
	fresh.drained(t)
	old := start(t, dir, url)
	old.publish(t, "a", `"from the old card"`)
	old.until(t, "the old card is refused", waiting("this is an old card"))
	// What both had is there once, what only the old one had is kept, and what
	// is new has an id of its own although the numbers are the same.
	now := published(t, fresh, "a")
	want := append(before, now[len(now)-1])
	got := copied(t, url)
	sortLines(got)
	sortLines(want)
	same(t, got, want)
	same(t, pgtest.Query(t, url, "SELECT kind, name FROM picloud.definitions ORDER BY kind"), []string{"script door", "trigger bell"})
}

// A card that was set back to an older image, behind the node's back, is
// refused: it would use numbers again that stand for other records.
func TestCardSetBackIsRefused(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := start(t, dir, url)
	n.publish(t, "a", `1`)
	n.drained(t)
	n.stop()
	image := clone(t, dir)
	n = start(t, dir, url)
	n.publish(t, "a", `2`, `3`)
	n.drained(t)
	want := published(t, n, "a")
	n.stop()
	n = start(t, image, url)
	n.publish(t, "a", `"other"`, `"than before"`, `"at the same place"`)
	n.until(t, "it is refused", waiting("another process has taken over"))
	same(t, copied(t, url), want)
	n.stop()
	if _, err := store.TakeOver(image); err != nil {
		t.Fatal(err)
	}
	n = start(t, image, url)
	n.drained(t)
	now := published(t, n, "a")
	want = append(want, now[1:]...) // the first is what both have
	got := withoutDamage(copied(t, url))
	sortLines(got)
	sortLines(want)
	same(t, got, want)
}

// A copy that is to live beside the original becomes a node of its own, with all
// it has.
func TestCopyBecomesANodeOfItsOwn(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := start(t, dir, url)
	if _, err := n.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "a"}); err != nil {
		t.Fatal(err)
	}
	n.publish(t, "a", `1`)
	n.drained(t)
	n.stop()
	image := clone(t, dir)
	if _, err := store.NewIdentity(image); err != nil {
		t.Fatal(err)
	}
	n, twin := start(t, dir, url), start(t, image, url)
	n.publish(t, "a", `"original"`)
	twin.publish(t, "a", `"twin"`)
	n.drained(t)
	twin.drained(t)
	if twin.Health().Degraded || twin.Node().ID == n.Node().ID {
		t.Errorf("the twin is %+v, %+v", twin.Node(), twin.Health())
	}
	same(t, pgtest.Query(t, url, "SELECT count(*) FROM picloud.topics"), []string{"2"})
	want := append(published(t, n, "a"), published(t, twin, "a")...)
	got := copied(t, url)
	sortLines(got)
	sortLines(want)
	same(t, got, want)
}

// withoutDamage drops the events that tell of a loss.
func withoutDamage(rows []string) []string {
	return slices.DeleteFunc(rows, func(row string) bool { return strings.Contains(row, picloud.TopicNodeDamage) })
}

// A journal that was lost begins another epoch: nothing is skipped because its
// numbers were there before.
func TestLostJournalIsCopiedFromItsBeginning(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := start(t, dir, url)
	n.set(t, "kept", "1", false)
	n.stop() // with a checkpoint
	n = start(t, dir, url)
	n.publish(t, "a", `1`, `2`, `3`, `4`)
	n.drained(t)
	want := published(t, n, "a")
	n.stop()
	pgtest.Query(t, url, "DELETE FROM picloud.kv RETURNING key") // stands for what the two do not have in common
	if err := os.RemoveAll(filepath.Join(dir, "journal")); err != nil {
		t.Fatal(err)
	}
	n = start(t, dir, url)
	n.publish(t, "a", `5`)
	n.drained(t)
	want = append(want, published(t, n, "a")...)
	got := withoutDamage(copied(t, url))
	sortLines(got)
	sortLines(want)
	same(t, got, want)
	same(t, pgtest.Query(t, url, "SELECT key, value FROM picloud.kv"), []string{"kept 1"})
}
