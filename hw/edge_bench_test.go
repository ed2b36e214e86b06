package hw

import (
	"bufio"
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	door "github.com/picloud/picloud/publish" // the tests have a function of this name
	"github.com/picloud/picloud/realtime"
	"github.com/picloud/picloud/store"
)

// wire is a line whose edges a benchmark causes.
type wire struct {
	line  *kernelInput
	cause func(on bool)
}

// newWire returns a line of the kernel's simulator where there is one, or else one whose
// edges are fed in.
func newWire(b *testing.B) wire {
	b.Helper()
	if _, err := os.Stat(configfs); err == nil {
		s := newSimulator(b)
		pin := both(PinConfig{Name: "in", Line: "GPIO4"})
		l, err := kernel{dev: "/dev"}.open(&pin)
		if err != nil {
			b.Fatal(err)
		}
		return wire{l.(*kernelInput), func(on bool) { s.pull(4, map[bool]string{true: "pull-up", false: "pull-down"}[on]) }}
	}
	l, kernel := fed(b)
	seqno := uint32(0)
	return wire{l, func(on bool) {
		seqno++
		if _, err := kernel.Write(kernelEdge(kernelNow(b), on, seqno)); err != nil {
			b.Fatal(err)
		}
	}}
}

// wireChip has this one line.
type wireChip struct{ line *kernelInput }

func (c wireChip) open(*PinConfig) (line, error) { return wireLine{c.line}, nil }

// wireLine is off until its edges say otherwise.
type wireLine struct{ *kernelInput }

func (wireLine) get() (bool, error) { return false, nil }

// benchStore is the store without counters.
type benchStore struct{ *store.Store }

func (benchStore) Newest(context.Context, string, string) ([]byte, error) { return nil, nil }

func (s benchStore) EnsureTopic(ctx context.Context, t picloud.Topic) (picloud.Topic, error) {
	if has, err := s.Topic(t.App, t.Name); err == nil {
		return has, nil
	}
	return s.CreateTopic(ctx, t)
}

// paced causes b.N edges, 100 a second, and reports how long each took to come: the median and 99 %, and
// their ratios to those of a floor of the same run, unless it is nil. It returns them.
func paced(b *testing.B, w wire, floor *quantiles, come func()) quantiles {
	b.Helper()
	took := make([]time.Duration, 0, b.N)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		<-tick.C
		began := time.Now()
		w.cause(i%2 == 0)
		come()
		took = append(took, time.Since(began))
	}
	b.StopTimer()
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Nanoseconds()) / 1000 }
	got := quantiles{at(0.5), at(0.99)}
	b.ReportMetric(got.p50, "p50-µs")
	b.ReportMetric(got.p99, "p99-µs")
	if floor != nil && floor.p50 > 0 {
		b.ReportMetric(got.p50/floor.p50, "p50-×bare")
		b.ReportMetric(got.p99/floor.p99, "p99-×bare")
	}
	return got
}

// quantiles are times in microseconds.
type quantiles struct{ p50, p99 float64 }

// BenchmarkEdgeToFrame measures from an edge to its frame at the subscriber's side of a
// socket, at 100 edges a second, beside a bare loop that reads the edge and writes a
// frame; for topics of durability sync the loop appends to a file and calls fdatasync before, as a
// commit does. Edges come through a pipe in the kernel's bytes, or in the machine of `make pins`
// from the kernel. One commit is what the file system of TMPDIR needs for it.
func BenchmarkEdgeToFrame(b *testing.B) {
	floors := map[picloud.Durability]*quantiles{picloud.DurabilitySync: {}, picloud.DurabilityTelemetry: {}}
	bare := func(b *testing.B, d picloud.Durability) {
		b.Helper()
		w := newWire(b)
		file, err := os.Create(filepath.Join(b.TempDir(), "log"))
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = file.Close() }() // nothing is read from it
		if err := unix.Fallocate(int(file.Fd()), 0, 0, 64<<20); err != nil {
			b.Fatal(err)
		}
		record := make([]byte, 320)
		server, client := socketPair(b)
		var wg sync.WaitGroup
		wg.Go(func() {
			frame := []byte("id: 0000000001.1000000000\ndata: " + strings.Repeat("x", 150) + "\n\n")
			list := make([]edge, 0, readEdges)
			for {
				var err error
				if list, err = w.line.edges(list[:0]); err != nil {
					return
				}
				for range list {
					if d == picloud.DurabilitySync {
						if _, err := file.Write(record); err != nil {
							b.Error(err)
						}
						if err := unix.Fdatasync(int(file.Fd())); err != nil {
							b.Error(err)
						}
					}
					if _, err := server.Write(frame); err != nil {
						b.Error(err)
					}
				}
			}
		})
		*floors[d] = paced(b, w, nil, frames(b, client))
		_ = w.line.Close() // ends the loop
		wg.Wait()
	}
	for _, d := range []picloud.Durability{picloud.DurabilitySync, picloud.DurabilityTelemetry} {
		b.Run("bare/"+string(d), func(b *testing.B) { bare(b, d) })
		b.Run("node/"+string(d), func(b *testing.B) {
			w := newWire(b)
			st, err := store.Open(store.Config{Dir: filepath.Join(b.TempDir(), "data"), ReserveBytes: -1})
			if err != nil {
				b.Fatal(err)
			}
			hub, err := realtime.New(realtime.Config{History: st, Node: "bench"})
			if err != nil {
				b.Fatal(err)
			}
			st.SetBroadcaster(hub)
			board := New(Config{
				Pins:      []PinConfig{{App: "default", Name: "in", Line: "x", Topic: "t", Kind: KindEdges, Edges: EdgesBoth, Durability: d}},
				Publisher: door.New(door.Config{Committer: st}), Store: benchStore{st},
			})
			board.chips = wireChip{w.line}
			ctx, stop := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			for _, run := range []func(context.Context) error{st.Run, hub.Run} {
				wg.Go(func() { _ = run(ctx) }) // ends with ctx
			}
			server, client := socketPair(b)
			seat, err := hub.Reserve("default", "")
			if err != nil {
				b.Fatal(err)
			}
			seat.Attach(server, realtime.Subscription{App: "default", Topics: []string{"t"}})
			come := frames(b, client)
			come() // hello
			come() // its id
			wg.Go(func() { _ = board.Run(ctx) })
			come() // the level at the start
			paced(b, w, floors[d], come)
			stop()
			wg.Wait()
			if err := st.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}

// socketPair returns both ends of a connection.
func socketPair(b *testing.B) (server, client net.Conn) {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = ln.Close() }() // only for this connection
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		b.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() })
	return server, client
}

// frames returns a function that waits for the next frame.
func frames(b *testing.B, c net.Conn) func() {
	b.Helper()
	r := bufio.NewReader(c)
	return func() {
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			if len(line) == 1 {
				return
			}
		}
	}
}
