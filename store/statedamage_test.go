package store_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// mixedState is a data directory after a mixed load, what it has to serve, and its
// state.db as it was earlier.
type mixedState struct {
	cfg     store.Config
	want    map[string]string
	earlier []byte
}

// mixedLoad makes a data directory. whole is false when its journal begins after what
// state.db has.
func mixedLoad(t *testing.T, whole bool) mixedState {
	t.Helper()
	cfg := store.Config{Dir: t.TempDir(), ReserveBytes: -1, Retention: picloud.Retention{MaxEvents: 50}, CheckpointBytes: 200_000, SegmentSize: 4 << 20}
	if !whole {
		cfg.JournalBytes, cfg.SegmentSize = 1<<20, 256<<10
	}
	s := start(t, cfg)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	entry := func(i, gen int) {
		size := []int{20, 200, 600, 9000}[i%4]
		_, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "shop", Key: fmt.Sprintf("k%03d", i), Value: []byte(strconv.Quote(generation(fmt.Sprintf("k%03d", i), gen, size)))})
		check(err)
	}
	document := func(i, gen int) {
		id := fmt.Sprintf("d%03d", i)
		_, err := s.PutDocument(t.Context(), picloud.DocumentChange{App: "shop", Collection: "customers", ID: id, Body: []byte(fmt.Sprintf(`{"name":%q,"city":"c%d"}`, generation(id, gen, 40), i%7))})
		check(err)
	}
	_, err := s.CreateApp(t.Context(), picloud.App{Name: "shop", Description: generation("shop", 1, 30)})
	check(err)
	_, err = s.SaveCollection(t.Context(), picloud.Collection{App: "shop", Name: "customers", Indexes: []string{"city"}})
	check(err)
	for i := range 40 {
		_, err = s.CreateTopic(t.Context(), picloud.Topic{App: "shop", Name: fmt.Sprint("topic", i), Retention: picloud.Retention{MaxEvents: 100 + i}})
		check(err)
	}
	for i := range 160 {
		entry(i, 1)
		document(i, 1)
	}
	for range 30 {
		publish(t, s, "shop", "topic1", `"`+strings.Repeat("x", 2000)+`"`)
	}
	s.stop(t)
	earlier, err := os.ReadFile(filepath.Join(cfg.Dir, "state.db"))
	check(err)
	s = start(t, cfg)
	for i := range 160 {
		if i%3 == 0 {
			entry(i, 2)
		}
		if i%5 == 0 {
			document(i, 2)
		}
		if i%31 == 7 {
			check(s.DeleteEntry(t.Context(), picloud.Deletion{App: "shop", Name: fmt.Sprintf("k%03d", i)}))
		}
	}
	check(s.DeleteTopic(t.Context(), "shop", "topic39"))
	for !whole && s.Stats().FirstLSN <= 500 {
		publish(t, s, "shop", "topic1", `"`+strings.Repeat("x", 20_000)+`"`)
	}
	for i := range 20 { // in the journal as well as in state.db
		entry(i, 3)
	}
	m := mixedState{cfg: cfg, want: served(t, s.Store), earlier: earlier}
	s.stop(t)
	return m
}

// generation is a text that says what it belongs to and how often that was written.
func generation(of string, n, size int) string {
	return fmt.Sprintf("%s#%d#%s", of, n, strings.Repeat("v", size))
}

// served reads all that a store has.
func served(t *testing.T, s *store.Store) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, a := range s.Apps() {
		got["app "+a.Name] = a.Description
	}
	topics, _ := s.Topics("shop")
	for _, topic := range topics {
		got["topic "+topic.Name] = strconv.Itoa(topic.Retention.MaxEvents)
	}
	for after := ""; ; {
		page, err := s.Entries(picloud.EntryList{App: "shop", After: after, Limit: 100})
		if err != nil {
			break
		}
		for _, e := range page.Entries {
			got["entry "+e.Key] = string(e.Value)
			one, err := s.Entry("shop", e.Key)
			if err != nil || !bytes.Equal(one.Value, e.Value) {
				got["entry "+e.Key] = fmt.Sprintf("listed otherwise than read: %.20s %.20s %v", e.Value, one.Value, err)
			}
			after = e.Key
		}
		if len(page.Entries) < 100 {
			break
		}
	}
	for i := range 7 {
		page, err := s.FindDocuments(picloud.DocumentQuery{App: "shop", Collection: "customers", Limit: 100, Where: []picloud.Condition{{Field: "city", Op: picloud.OpEqual, Value: fmt.Sprint("c", i)}}})
		if err != nil {
			continue
		}
		for _, d := range page.Documents {
			got["document "+d.ID] = string(d.Body)
		}
	}
	return got
}

// stateFaults are what cards and file systems do to a state.db.
var stateFaults = map[string]func(rng *rand.Rand, b, earlier []byte) []byte{
	"bit": func(rng *rand.Rand, b, _ []byte) []byte {
		b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		return b
	},
	"bit in use": func(rng *rand.Rand, b, _ []byte) []byte { // not in what is free
		for {
			if i := rng.IntN(len(b)); b[i] != 0 {
				b[i] ^= 1 << rng.IntN(8)
				return b
			}
		}
	},
	"bit of what it says of itself": func(rng *rand.Rand, b, _ []byte) []byte {
		at := bytes.LastIndex(b[:int(livePages(b))*4096], []byte("checkpoint sum")) - 300 // the newest, or one before it
		b[at+rng.IntN(320)] ^= 1 << rng.IntN(8)
		return b
	},
	"zero page": func(rng *rand.Rand, b, _ []byte) []byte {
		clear(somePage(rng, b))
		return b
	},
	"zero sector": func(rng *rand.Rand, b, _ []byte) []byte {
		at := rng.IntN(len(b)/512) * 512
		clear(b[at : at+512])
		return b
	},
	"noise": func(rng *rand.Rand, b, _ []byte) []byte {
		p := somePage(rng, b)
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		return b
	},
	"swapped pages": func(rng *rand.Rand, b, _ []byte) []byte {
		p, q := somePage(rng, b), somePage(rng, b)
		old := bytes.Clone(p)
		copy(p, q)
		copy(q, old)
		return b
	},
	"misdirected page": func(rng *rand.Rand, b, _ []byte) []byte {
		copy(somePage(rng, b), somePage(rng, b))
		return b
	},
	"cut": func(rng *rand.Rand, b, _ []byte) []byte { return b[:rng.IntN(len(b))] },
	"cut by a page": func(_ *rand.Rand, b, _ []byte) []byte {
		return b[:int(livePages(b)-1)*4096]
	},
	"stale page": func(rng *rand.Rand, b, earlier []byte) []byte {
		at := (2 + rng.IntN(min(len(b), len(earlier))/4096-2)) * 4096
		copy(b[at:at+4096], earlier[at:])
		return b
	},
	"stale sector": func(rng *rand.Rand, b, earlier []byte) []byte {
		at := rng.IntN(min(len(b), len(earlier))/512) * 512
		copy(b[at:at+512], earlier[at:])
		return b
	},
	"loop": func(rng *rand.Rand, b, _ []byte) []byte {
		return onPages(rng, b, 1, func(p []byte, id uint64) { // a branch that leads to itself
			binary.LittleEndian.PutUint64(p[16+16*rng.IntN(int(binary.LittleEndian.Uint16(p[10:])))+8:], id)
		})
	},
	"size of a value": func(rng *rand.Rand, b, _ []byte) []byte {
		return onPages(rng, b, 2, func(p []byte, _ uint64) {
			if n := int(binary.LittleEndian.Uint16(p[10:])); n > 0 && n < 200 {
				binary.LittleEndian.PutUint32(p[16+16*rng.IntN(n)+12:], 0x30000000)
			}
		})
	},
	"further pages": func(rng *rand.Rand, b, _ []byte) []byte {
		return onPages(rng, b, 2, func(p []byte, _ uint64) { binary.LittleEndian.PutUint32(p[12:], rng.Uint32()>>rng.IntN(32)) })
	},
}

func somePage(rng *rand.Rand, b []byte) []byte {
	at := rng.IntN(int(min(livePages(b), uint64(len(b)/4096)))) * 4096
	return b[at : at+4096]
}

// livePages returns how many pages a file of bbolt says that it has.
func livePages(b []byte) uint64 {
	newest, pages := uint64(0), uint64(2)
	for at := 16; at <= 4096+16; at += 4096 {
		if txid := binary.LittleEndian.Uint64(b[at+48:]); txid >= newest {
			newest, pages = txid, binary.LittleEndian.Uint64(b[at+40:])
		}
	}
	return pages
}

// onPages changes one of the pages that have certain flags.
func onPages(rng *rand.Rand, b []byte, flags uint16, change func(p []byte, id uint64)) []byte {
	var pages []int
	for at := 2 * 4096; at+4096 <= len(b); at += 4096 {
		if binary.LittleEndian.Uint64(b[at:]) == uint64(at/4096) && binary.LittleEndian.Uint16(b[at+8:]) == flags {
			pages = append(pages, at)
		}
	}
	if len(pages) > 0 {
		at := pages[rng.IntN(len(pages))]
		change(b[at:at+4096], uint64(at/4096))
	}
	return b
}

// DM-3: whatever happens to state.db, the node starts soon and with little memory, and
// what it serves is what was acknowledged, or the loss is told; never is anything served
// that was not written.
func TestDamagedStateServesNothingWrong(t *testing.T) {
	t.Parallel()
	rounds := galleryFaults(t) / 20 // of each fault
	for _, whole := range []bool{true, false} {
		m := mixedLoad(t, whole)
		good, err := os.ReadFile(filepath.Join(m.cfg.Dir, "state.db"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range slices.Sorted(maps.Keys(stateFaults)) {
			t.Run(fmt.Sprintf("%s, journal whole: %t", name, whole), func(t *testing.T) {
				t.Parallel()
				outcomes := map[string]int{}
				for n := range rounds {
					rng := rand.New(rand.NewPCG(uint64(n), 16)) // #nosec G115 G404 -- small; a test
					cfg := m.cfg
					cfg.Dir = copyDir(t, m.cfg.Dir)
					bad := stateFaults[name](rng, bytes.Clone(good), m.earlier)
					if err := os.WriteFile(filepath.Join(cfg.Dir, "state.db"), bad, 0o600); err != nil {
						t.Fatal(err)
					}
					outcomes[checkDamagedState(t, cfg, n, whole, m.want)]++
					if err := os.RemoveAll(cfg.Dir); err != nil {
						t.Fatal(err)
					}
				}
				t.Log(outcomes)
			})
		}
	}
}

// checkDamagedState opens a directory twice and says how that ended.
func checkDamagedState(t *testing.T, cfg store.Config, n int, whole bool, want map[string]string) string {
	t.Helper()
	outcome := "nothing happened"
	var before map[string]string
	for again := range 2 {
		began := time.Now()
		s, err := store.Open(cfg)
		if err != nil {
			t.Errorf("round %d: it does not start: %v", n, err)
			return "refused"
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("round %d: it started in %s", n, took)
		}
		got, health := served(t, s), s.Health()
		notes := strings.Join(health.Notes, "\n")
		told := slices.ContainsFunc(health.Notes, func(n string) bool {
			return strings.Contains(n, "lost") && !strings.Contains(n, "nothing is lost")
		})
		if again == 0 && health.Degraded {
			outcome = "mended"
		}
		if again == 0 && told {
			outcome = "told"
		}
		for what, is := range got {
			switch should, there := want[what]; {
			case is == should:
			case outcome == "told" && older(is, should, there):
			default:
				t.Errorf("round %d: %s is %.40q, and was %.40q; told: %.300s", n, what, is, should, notes)
			}
		}
		for what := range want {
			if _, there := got[what]; !there && outcome != "told" {
				t.Errorf("round %d: %s is not there; told: %.300s", n, what, notes)
			}
		}
		if whole && outcome == "told" {
			t.Errorf("round %d: the journal has all, and still: %s", n, notes)
		}
		if again == 1 && !maps.Equal(before, got) {
			t.Errorf("round %d: what is served changes with the next start", n)
		}
		before = got
		if err := s.Close(); err != nil {
			t.Errorf("round %d: %v", n, err)
		}
	}
	return outcome
}

// older reports whether a text is what generation or deletion made earlier of another.
func older(is, should string, there bool) bool {
	a, _, ok := strings.Cut(is, "#")
	b, _, _ := strings.Cut(should, "#")
	return !there || (ok && a == b)
}
