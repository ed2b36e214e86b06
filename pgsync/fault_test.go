package pgsync_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	neturl "net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/pgsync"
	"github.com/picloud/picloud/pgsync/pgtest"
	"github.com/picloud/picloud/store"
)

// eager is a clock by which what happens once a second happens at once.
func eager() func() time.Time {
	var mu sync.Mutex
	ahead := time.Duration(0)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		ahead += 500 * time.Millisecond
		return time.Now().Add(ahead)
	}
}

func sortLines(s []string) { slices.Sort(s) }

// PG-2: Postgres is not there when the node starts, and the node is restarted
// while it still is not; all of a hundred thousand events arrive.
func TestAbsentAtStartAndOverARestart(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "fsync=off")
	url := server.Database(t)
	server.Stop()
	dir := t.TempDir()
	n := start(t, dir, url)
	many := func() {
		for i := range 60 {
			var data []string
			for j := range 900 {
				data = append(data, fmt.Sprintf(`{"i":%d,"j":%d}`, i, j))
			}
			n.publish(t, "a", data...)
		}
	}
	many()
	n.until(t, "it says that nobody answers", waiting("connect to Postgres"))
	n.stop()
	n = start(t, dir, url)
	many()
	server.Start(t)
	n.drained(t)
	want := published(t, n, "a")
	if len(want) != 2*60*900 {
		t.Fatalf("%d events", len(want))
	}
	for i := range want { // as jsonb is written
		want[i] = strings.NewReplacer(`":`, `": `, `,"`, `, "`).Replace(want[i])
	}
	same(t, copied(t, url), want)
}

// The server dies at random while it is written to: every event is there once.
func TestServerDiesAtRandom(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	url := server.Database(t)
	n := start(t, t.TempDir(), url)
	stop := publishAllTheTime(t, n)
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		<-time.After(rand.N(150 * time.Millisecond))
		server.Kill()
		server.Start(t)
	}
	stop()
	n.drained(t)
	same(t, copied(t, url), published(t, n, "a", "b"))
}

// An administrator ends all connections, again and again.
func TestConnectionsAreTerminated(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	n := start(t, t.TempDir(), url)
	stop := publishAllTheTime(t, n)
	for range 20 {
		<-time.After(30 * time.Millisecond)
		pgtest.Exec(t, url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'picloud' AND datname = current_database()")
	}
	stop()
	n.drained(t)
	same(t, copied(t, url), published(t, n, "a", "b"))
}

// PG-1, PG-2: the content of a file that is sent while connections end all the time
// is there once, whole, with nothing beside it.
func TestContentsOverBrokenConnections(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	n := start(t, t.TempDir(), url)
	big := strings.Repeat("0123456789abcdef", 1<<20)
	for i := range 6 {
		if _, err := n.PutFile(t.Context(), picloud.FileChange{App: "default", Path: "big"}, strings.NewReader(big[i:])); err != nil {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
		pgtest.Exec(t, url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'picloud' AND datname = current_database()")
	}
	n.drained(t)
	same(t, pgtest.Query(t, url, "SELECT size, sha256 = encode(sha256((SELECT string_agg(bytes, '' ORDER BY part) FROM picloud.file_parts p WHERE p.content = f.content)), 'hex') FROM picloud.files f"), []string{fmt.Sprint(len(big)-5, " true")})
}

// publishAllTheTime publishes until stop is called.
func publishAllTheTime(t *testing.T, n *node) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, topic := range []string{"a", "b"} {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				p := picloud.Publication{App: "default", By: picloud.LocalOperator()}
				for j := range 1 + i%5 {
					p.Drafts = append(p.Drafts, picloud.Draft{Topic: topic, Data: fmt.Appendf(nil, `{"i": %d, "j": %d}`, i, j)})
				}
				if _, err := n.Publish(t.Context(), p); err != nil {
					t.Error(err)
					return
				}
				<-time.After(time.Millisecond)
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// A connection that is cut off without a word is noticed, and another one made.
func TestConnectionGoesSilent(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "fsync=off")
	url := server.Database(t)
	proxy := newProxy(t, server.Address())
	through := strings.Replace(url, server.Address(), proxy.addr, 1)
	n := start(t, t.TempDir(), through, func(pc *pgsync.Config, dc *dispatch.Config) {
		pc.Timeout, dc.TickEvery = 500*time.Millisecond, 100*time.Millisecond
	})
	n.publish(t, "a", "1")
	n.drained(t)
	proxy.mute(true)
	n.publish(t, "a", "2")
	n.until(t, "it notices", waiting("no answer in time"))
	proxy.mute(false)
	n.publish(t, "a", "3")
	n.drained(t)
	same(t, copied(t, url), published(t, n, "a"))
}

// proxy passes bytes on, or swallows them with the connection left open.
type proxy struct {
	addr  string
	to    string
	mu    sync.Mutex
	muted bool
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	p := &proxy{addr: ln.Addr().String(), to: to}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *proxy) mute(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.muted = on
}

func (p *proxy) isMuted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.muted
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer s.Close()
	var dead atomic.Bool // a connection that was cut off stays so
	pass := func(to, from net.Conn) {
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			if p.isMuted() {
				dead.Store(true)
			}
			if err != nil {
				return
			}
			if dead.Load() {
				continue
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	go pass(s, c)
	pass(c, s)
}

// A wrong password is told with what to do, and taken up when it was corrected.
func TestPasswordIsCorrectedLater(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "fsync=off")
	url := server.Database(t)
	pgtest.Exec(t, url, "CREATE ROLE pi LOGIN SUPERUSER PASSWORD 'right'")
	hba := "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(server.Dir(), "pg_hba.conf"), []byte(hba), 0o600); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, "SELECT pg_reload_conf()")
	var mu sync.Mutex
	password := "wrong"
	n := start(t, t.TempDir(), url, func(pc *pgsync.Config, _ *dispatch.Config) {
		pc.URL = func() (string, error) {
			mu.Lock()
			defer mu.Unlock()
			return strings.Replace(url, "postgres@", "pi:"+password+"@", 1), nil
		}
	})
	n.publish(t, "a", "1")
	n.until(t, "it says what is wrong", waiting("the password is wrong"))
	if st := n.lane.Status(); strings.Contains(st.Error, "wrong@") {
		t.Errorf("the error quotes the password: %s", st.Error)
	}
	mu.Lock()
	password = "right"
	mu.Unlock()
	n.drained(t)
	same(t, copied(t, url), published(t, n, "a"))
}

// A server that only reads, and a schema that is too new, are waited for.
func TestServerThatOnlyReadsAndSchemaThatIsTooNew(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := start(t, dir, url)
	n.publish(t, "a", "1")
	n.drained(t)
	n.stop()
	database := pgtest.Query(t, url, "SELECT current_database()")[0]
	pgtest.Exec(t, url, "ALTER DATABASE "+database+" SET default_transaction_read_only = on")
	n = start(t, dir, url)
	n.publish(t, "a", "2")
	n.until(t, "it says that the server only reads", waiting("name the primary"))
	u, err := neturl.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("options", "-cdefault_transaction_read_only=off")
	u.RawQuery = q.Encode()
	pgtest.Exec(t, u.String(), "ALTER DATABASE "+database+" RESET default_transaction_read_only")
	n.drained(t)
	n.stop()

	pgtest.Exec(t, url, "INSERT INTO picloud.migrations (version, name) VALUES (99, '0099_from_the_future')")
	n = start(t, dir, url)
	n.publish(t, "a", "3") // a newer schema that older nodes may write to
	n.drained(t)
	n.stop()
	pgtest.Exec(t, url, "UPDATE picloud.settings SET value = '99' WHERE name = 'oldest_writer'")
	n = start(t, dir, url)
	n.publish(t, "a", "4")
	n.until(t, "it says that it is too old", waiting("install a newer one"))
	pgtest.Exec(t, url, "UPDATE picloud.settings SET value = '1' WHERE name = 'oldest_writer'; DELETE FROM picloud.migrations WHERE version = 99")
	n.drained(t)
	same(t, copied(t, url), published(t, n, "a"))
}

// OP-1: tables that were dropped are told with the one thing to do, which works: the
// schema is dropped, and the node makes it anew with all it has.
func TestDroppedTablesAreTold(t *testing.T) {
	t.Parallel()
	for _, drop := range []string{"DROP TABLE picloud.events", "DROP FUNCTION picloud.advance", "ALTER TABLE picloud.events DROP COLUMN exact", "DROP TABLE picloud.nodes CASCADE"} {
		t.Run(drop, func(t *testing.T) {
			t.Parallel()
			url := pgtest.Database(t)
			n := start(t, t.TempDir(), url)
			n.publish(t, "a", "1")
			n.drained(t)
			pgtest.Exec(t, url, drop)
			n.publish(t, "a", "2")
			n.until(t, "it says that tables are missing", waiting("drop the whole schema"))
			pgtest.Exec(t, url, "DROP SCHEMA picloud CASCADE")
			n.drained(t)
			same(t, copied(t, url), published(t, n, "a"))
		})
	}
}

// When the disk of the database is full nothing is set aside: it waits.
func TestFullDatabaseIsWaitedFor(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	n := start(t, t.TempDir(), url)
	n.publish(t, "a", "1")
	n.drained(t)
	pgtest.Exec(t, url, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
		CREATE TRIGGER full_disk BEFORE INSERT ON picloud.events FOR EACH ROW EXECUTE FUNCTION full_disk()`)
	n.publish(t, "a", "2")
	n.until(t, "it says that the disk is full", waiting("disk of the database is full"))
	pgtest.Exec(t, url, "DROP TRIGGER full_disk ON picloud.events")
	n.drained(t)
	same(t, copied(t, url), published(t, n, "a"))
}

// What the journal had to drop before it could be copied is counted, and the
// tables of things are right all the same (PG-2).
func TestDroppedBacklogIsCounted(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := start(t, dir, url)
	for _, name := range []string{"kept", "gone"} {
		if _, err := n.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	n.publish(t, "a", "1")
	n.drained(t)
	n.stop()

	// A long time without a database in the configuration: nothing is owed.
	alone := openAlone(t, dir)
	if err := alone.DeleteTopic(t.Context(), "default", "gone"); err != nil {
		t.Fatal(err)
	}
	pad := `"` + strings.Repeat("x", 8000) + `"`
	for range 400 {
		alone.publish(t, "a", pad)
	}
	alone.stop()
	n = start(t, dir, url)
	n.drained(t)
	lost := n.lane.Status().Lost
	if lost == 0 {
		t.Errorf("%+v", n.lane.Status())
	}
	n.stop()
	n = start(t, dir, url)
	n.drained(t)
	if got := n.lane.Status().Lost; got != lost {
		t.Errorf("after a restart %d are lost, before %d", got, lost)
	}
	same(t, pgtest.Query(t, url, "SELECT name FROM picloud.topics"), []string{"kept"})
	if lost := pgtest.Query(t, url, "SELECT lost > 0 FROM picloud.fleet"); lost[0] != "true" {
		t.Error("the fleet view does not tell of the loss")
	}
}

// Telemetry that had to be given up while Postgres was away is counted there, and
// everything else arrives.
func TestTelemetryThatWasGivenUpIsCounted(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	alone := openAlone(t, dir, picloud.Central)
	if _, err := alone.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "chatty", Durability: picloud.DurabilityTelemetry}); err != nil {
		t.Fatal(err)
	}
	pad := strings.Repeat("x", 3000)
	for i := range 1000 {
		alone.publish(t, "chatty", `"`+pad+`"`)
		if i%10 == 0 {
			alone.publish(t, "rare", fmt.Sprint(i))
		}
	}
	want := published(t, alone, "rare")
	alone.stop()
	n := start(t, dir, url)
	n.drained(t)
	same(t, pgtest.Query(t, url, "SELECT count(*) FROM picloud.events WHERE topic = 'rare'"), []string{fmt.Sprint(len(want))})
	same(t, pgtest.Query(t, url, "SELECT (SELECT count(*) FROM picloud.events WHERE topic = 'chatty') + lost FROM picloud.nodes"), []string{"1000"})
}

// openAlone opens a node with a tiny journal and no lane.
func openAlone(t *testing.T, dir string, owed ...string) *node {
	t.Helper()
	st, err := store.Open(store.Config{Dir: dir, ReserveBytes: -1, SegmentSize: 128 << 10, JournalBytes: 512 << 10, CheckpointBytes: 64 << 10, Readers: owed, Now: eager()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	return &node{Store: st, stop: func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}}
}
