package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// plug is a node at work on a disk that can be cut off, and the checker of what
// is on the disk then.
type plug struct {
	t     *testing.T
	disks *disks
	n     *node
	load  *load
	admin *admin
	rng   *rand.Rand
	last  []byte // the last image, for whoever wants to look
}

// smallStore makes segments roll, files go through their lives and checkpoints
// happen many times a second.
var smallStore = []string{
	"PICLOUD_STORAGE_SEGMENT_BYTES=262144", "PICLOUD_STORAGE_CHECKPOINT_BYTES=524288", "PICLOUD_STORAGE_JOURNAL_BYTES=2097152",
	"PICLOUD_STORAGE_RESERVE_BYTES=-1", "PICLOUD_SPOOL=off", "PICLOUD_LOG_LEVEL=error",
}

const diskBytes = 24 << 20

func newPlug(t *testing.T, seed uint64, wrap ...string) (p *plug, stop func()) {
	t.Helper()
	d := newDisks(t, diskBytes)
	n := newNode(t, smallStore...)
	n.plain, n.wrap = true, wrap
	n.data = filepath.Join(d.dir, "mnt", "data")
	n.start()
	p = &plug{t: t, disks: d, n: n, load: newLoad(t, n), admin: newAdmin(t, n), rng: rand.New(rand.NewPCG(seed, 1))}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wait := p.load.start(ctx)
	wg.Go(func() { p.admin.run(ctx) })
	wg.Go(func() {
		p.load.follow(ctx, "follower", append([]string{telemetryTopic}, crashTopics...), func() string { return "" })
	})
	return p, func() {
		cancel()
		n.kill() // which also ends what waits for answers
		wait()
		wg.Wait()
	}
}

// mark is what had been told and what had been begun at one moment.
type mark struct {
	facts    []fact
	idemKeys []string
	attempts map[string]int
	ops      []adminOp
	keys     map[string]int
	files    map[string]int
}

func (p *plug) mark() mark {
	m := mark{ops: p.admin.mark()}
	p.load.mu.Lock()
	defer p.load.mu.Unlock()
	m.facts, m.idemKeys, m.attempts = p.load.facts, p.load.idemKeys, maps.Clone(p.load.attempts)
	return m
}

// cut pulls the plug once: what was told before must be on the disk, and
// nothing that was not begun by then may be. It returns what is wrong.
func (p *plug) cut() []string {
	p.t.Helper()
	told := p.mark()
	told.keys, told.files = p.load.keys.told(), p.load.files.told()
	keep := []float64{0, 0.1, 0.5, 0.9, 1}[p.rng.IntN(5)]
	p.last = p.disks.live.image(p.rng, keep)
	begun := p.mark()
	begun.keys, begun.files = p.load.keys.asked(), p.load.files.asked()
	// The node rests while its image is looked at, and then goes on.
	pid := p.n.process().cmd.Process.Pid
	_ = syscall.Kill(-pid, syscall.SIGSTOP)
	defer func() { _ = syscall.Kill(-pid, syscall.SIGCONT) }()

	p.disks.second.set(p.last)
	defer p.disks.mount("second", "mnt2")()
	m := newNode(p.t, smallStore...)
	m.plain = true
	m.data = filepath.Join(p.disks.dir, "mnt2", "data")
	defer m.kill()
	proc := m.launch()
	if err := m.ready(proc, 20*time.Second); err != nil {
		return []string{fmt.Sprintf("it does not start: %v\n%s", err, proc.log)}
	}
	faults := p.checkEvents(m, &told, &begun)
	faults = append(faults, p.load.keys.check(m, p.load.key, told.keys, func() map[string]int { return begun.keys })...)
	faults = append(faults, p.load.files.check(m, p.load.key, told.files, func() map[string]int { return begun.files })...)
	faults = append(faults, p.checkRepeats(m, &told)...)
	faults = append(faults, p.admin.check(m, told.ops, begun.ops)...)
	if log := proc.log.String(); log != "" {
		faults = append(faults, "it complains: "+log)
	}
	return faults
}

// checkEvents holds the history of a node against what was told and begun.
func (p *plug) checkEvents(m *node, told, begun *mark) (faults []string) {
	faultf := func(format string, args ...any) {
		if len(faults) < 5 {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	history, err := m.readHistory(p.load.key, "default", append([]string{telemetryTopic}, crashTopics...)...)
	if err != nil {
		return []string{err.Error()}
	}
	byID := map[string]string{}
	lastN := map[string]int{}
	for _, e := range history {
		byID[e.ID] = string(e.Data)
		var pl payload
		if err := json.Unmarshal(e.Data, &pl); err != nil || encode(pl) != string(e.Data) {
			faultf("event %s was never sent: %s", e.ID, e.Data)
			continue
		}
		if pl.N >= begun.attempts[pl.P] {
			faultf("event %s is %d of %s, which had begun %d", e.ID, pl.N, pl.P, begun.attempts[pl.P])
		}
		if before, ok := lastN[pl.P]; ok && pl.N <= before {
			faultf("event %s is %d of %s and comes after %d", e.ID, pl.N, pl.P, before)
		}
		lastN[pl.P] = pl.N
	}
	if len(history) == 0 && len(told.facts) > 0 {
		return []string{"the history is empty"}
	}
	// What lies before the oldest event has gone with its segment: the disk
	// budget is small here on purpose.
	first := uint64(0)
	if len(history) > 0 {
		first = seqOf(p.t, history[0].ID)
	}
	old := 0
	for i, f := range told.facts {
		if seqOf(p.t, f.id) < first {
			if i == old {
				old++
			}
			continue
		}
		if got, ok := byID[f.id]; !ok || got != f.data {
			faultf("%s %s was acknowledged or seen: the history has %q", f.id, f.data, got)
		}
	}
	if len(told.facts) > 0 && old == len(told.facts) {
		faultf("of %d events that were told none is there", old)
	}
	p.load.mu.Lock()
	defer p.load.mu.Unlock()
	for _, e := range history {
		if data, ok := p.load.announced[e.ID]; ok && data != string(e.Data) { // PB-9
			faultf("id %s was announced for %s and stands for %s", e.ID, data, e.Data)
		}
	}
	p.load.facts = p.load.facts[old:]
	return faults
}

// checkRepeats repeats acknowledged requests under their idempotency keys, and
// publishes one more event, whose position must be new.
func (p *plug) checkRepeats(m *node, told *mark) (faults []string) {
	path := "/v1/apps/default/topics/" + strings.ReplaceAll(crashTopics[2], "/", "%2F") + "/events"
	for i := range min(3, len(told.idemKeys)) {
		key := told.idemKeys[len(told.idemKeys)-1]
		if i > 0 {
			key = told.idemKeys[p.rng.IntN(len(told.idemKeys))]
		}
		at := strings.LastIndexByte(key, '-')
		number, err := strconv.Atoi(key[at+1:])
		if err != nil {
			p.t.Fatal(err)
		}
		p.load.mu.Lock()
		want := p.load.idem[key]
		p.load.mu.Unlock()
		a, err := m.request("POST", path, p.load.key, encode(payload{key[:at], number}), "Idempotency-Key", key)
		var got receipt
		if err != nil || a.status != http.StatusCreated || json.Unmarshal(a.body, &got) != nil || got != want {
			faults = append(faults, fmt.Sprintf("the repeat of %s answers %d %s (%v), the first answer was %+v", key, a.status, a.body, err, want))
		}
	}
	a, err := m.request("POST", path, p.load.key, `"after the cut"`)
	var got receipt
	if err != nil || a.status != http.StatusCreated || json.Unmarshal(a.body, &got) != nil {
		return append(faults, fmt.Sprintf("it takes nothing: %d %s (%v)", a.status, a.body, err))
	}
	p.load.mu.Lock()
	defer p.load.mu.Unlock()
	if data, again := p.load.announced[got.ID]; again {
		faults = append(faults, fmt.Sprintf("id %s was announced for %s and is given again", got.ID, data))
	}
	for _, f := range told.facts {
		if f.id == got.ID {
			faults = append(faults, fmt.Sprintf("id %s was told for %s and is given again", got.ID, f.data))
		}
	}
	return faults
}

// The plug is pulled again and again on a disk that loses, at random, what was
// not flushed: the node starts each time, whatever anybody was told is there,
// in order and once, and nothing is that was never sent. (PB-1, PB-3, PB-4,
// PB-9, TK-1, AU-2, OP-7, FI-1)
func TestPowerCut(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	p, stop := newPlug(t, seed)
	defer stop()
	cuts := howOften(t, "PICLOUD_E2E_CUTS", 200)
	const patience = 5 // on a slow machine less happens between two cuts
	i := 0
	for ; i < cuts || (cuts >= 100 && i < patience*cuts && !p.proves()); i++ {
		pause(t.Context(), time.Duration(1+p.rng.IntN(60))*time.Millisecond)
		if faults := p.cut(); len(faults) > 0 {
			image := filepath.Join("out", "powercut.img")
			_ = os.MkdirAll("out", 0o755)
			_ = os.WriteFile(image, p.last, 0o600)
			t.Fatalf("cut %d (image in %s): %s", i, image, strings.Join(faults, "\n"))
		}
	}
	p.load.mu.Lock()
	faults := append(slices.Clone(p.load.faults), p.admin.faults...)
	p.load.mu.Unlock()
	for _, f := range faults {
		t.Error(f)
	}
	p.report(i)
}

// passed is what a node went through.
type passed struct {
	Storage struct {
		First   uint64 `json:"first_lsn"`
		Last    uint64 `json:"last_lsn"`
		Events  int    `json:"events_since_start"`
		Commits int    `json:"commits_since_start"`
	}
	checkpoints float64
}

func (p *plug) passed() (n passed) {
	p.t.Helper()
	p.n.do(200, &n, "GET", "/v1/node", p.admin.key, "")
	n.checkpoints = metric(p.t, string(p.n.do(200, nil, "GET", "/metrics", p.admin.key, "").body), "picloud_checkpoints_total")
	return n
}

// proves reports whether segments were dropped and checkpoints written: without
// rolling and reuse the cuts would prove little.
func (p *plug) proves() bool {
	p.t.Helper()
	n := p.passed()
	return n.checkpoints >= 3 && n.Storage.First > 1
}

// report says what the cuts went through.
func (p *plug) report(cuts int) {
	p.t.Helper()
	node := p.passed()
	writes, flushes := p.disks.live.traffic()
	p.t.Logf("%d cuts over %d events in %d commits, %d changes, %.0f checkpoints, records %d to %d; the disk saw %d writes and %d flushes",
		cuts, node.Storage.Events, node.Storage.Commits, len(p.admin.mark()), node.checkpoints, node.Storage.First, node.Storage.Last, writes, flushes)
	if cuts >= 100 && !p.proves() {
		p.t.Error("no segment was dropped, or too few checkpoints were written: this run proves too little")
	}
}

// metric returns the value of a metric without labels.
func metric(t *testing.T, text, name string) float64 {
	t.Helper()
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// The checker bites: with fsync doing nothing, the same cuts find what was
// acknowledged and is not there.
func TestPowerCutBites(t *testing.T) {
	p, stop := newPlug(t, 1, "strace", "-f", "-qqq", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:retval=0", "-o", "/dev/null")
	defer stop()
	until(t, "events are acknowledged", func() bool { return len(p.mark().facts) > 0 })
	p.disks.sh("sync", "-f", filepath.Join(p.disks.dir, "mnt")) // so that it is neither the whole node nor all of its history that is missing
	const most = 60
	for range most {
		pause(t.Context(), time.Duration(1+p.rng.IntN(60))*time.Millisecond)
		for _, f := range p.cut() {
			if strings.Contains(f, "was acknowledged or seen") {
				t.Log(f)
				return
			}
		}
	}
	t.Errorf("%d cuts found nothing missing from a node that never fsyncs", most)
}
