package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkStart measures from exec to READY=1, after a clean stop and after
// kill -9, with journals that hold so much. The floor is the same binary
// printing its version.
func BenchmarkStart(b *testing.B) {
	floor := execFloor(b)
	for _, mb := range []int{0, 10, 100} {
		n := newNode(b)
		ready := notified(b, n)
		n.launch()
		<-ready
		n.fill(b, mb<<20)
		for _, end := range []struct {
			name string
			fn   func()
		}{{"stopped", func() { n.stop() }}, {"killed", n.kill}} {
			b.Run(fmt.Sprintf("journal=%dMB/%s", mb, end.name), func(b *testing.B) {
				var took time.Duration
				for range b.N {
					end.fn()
					began := time.Now()
					n.launch()
					<-ready
					took += time.Since(began)
				}
				ms := float64(took.Microseconds()) / 1000 / float64(b.N)
				b.ReportMetric(ms, "ms/start")
				b.ReportMetric(ms/floor, "×exec")
				b.ReportMetric(0, "ns/op")
			})
		}
		n.stop()
	}
}

// execFloor returns how many milliseconds it takes to run the binary at all.
func execFloor(b *testing.B) float64 {
	b.Helper()
	const n = 20
	began := time.Now()
	for range n {
		if err := exec.Command(binary, "version").Run(); err != nil {
			b.Fatal(err)
		}
	}
	return float64(time.Since(began).Microseconds()) / 1000 / n
}

// notified makes the node tell systemd, which is us, when it serves.
func notified(b *testing.B, n *node) <-chan struct{} {
	b.Helper()
	name := filepath.Join(n.home, "n")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	n.env = append(n.env, "NOTIFY_SOCKET="+name)
	ready := make(chan struct{})
	go func() {
		buf := make([]byte, 4096)
		for {
			k, err := conn.Read(buf)
			if err != nil {
				return
			}
			if bytes.Contains(buf[:k], []byte("READY=1")) {
				ready <- struct{}{}
			}
		}
	}()
	return ready
}

// fill publishes events of 250 bytes until the journal has so many bytes.
func (n *node) fill(b *testing.B, size int) {
	b.Helper()
	key := n.key("", "instance:admin")
	one := fmt.Sprintf(`{"topic":"t","data":%q}`, strings.Repeat("x", 250))
	batch := "[" + strings.TrimSuffix(strings.Repeat(one+",", 1000), ",") + "]"
	for written := 0; written < size; written += 1000 * 300 {
		n.do(201, nil, "POST", "/v1/apps/default/events", key, batch)
	}
}

// BenchmarkRest measures a node that nobody asks for anything, with 1 000 events
// of history: memory, processor and disk.
func BenchmarkRest(b *testing.B) {
	n := startNode(b)
	n.fill(b, 1000*300)
	n.stop()
	n.start()
	pause(b.Context(), 2*time.Second)
	written, cpu, began := n.written(), n.cpu(b), time.Now()
	pause(b.Context(), 60*time.Second)
	took := time.Since(began)
	b.ReportMetric(float64(n.written()-written), "B-written")
	b.ReportMetric(100*(n.cpu(b)-cpu).Seconds()/took.Seconds(), "%cpu")
	b.ReportMetric(n.rss(b)/(1<<20), "MiB-RSS")
	b.ReportMetric(0, "ns/op")
}

// fullBoard is the configuration of 64 pins and 16 sensors: inputs of every kind that publish, outputs
// that follow and that do not, sensors that are read each second and whose values do not move
// enough to be published.
func fullBoard() string {
	var b strings.Builder
	for i := range 32 {
		fmt.Fprintf(&b, "[hw.inputs.in-%d]\nline = \"GPIO%d\"\ntopic = \"in/%d\"\nkind = %q\n", i, i, i, []string{"edges", "button", "counter"}[i%3])
		fmt.Fprintf(&b, "[hw.outputs.out-%d]\nline = \"GPIO%d\"\n", i, 32+i)
		if i%2 == 0 {
			fmt.Fprintf(&b, "follow = \"in/%d\"\n", i)
		}
	}
	for i := range 16 {
		fmt.Fprintf(&b, "[hw.sensors.s-%d]\ndriver = %q\nbus = %d\nevery = \"1s\"\nmin_change = 1000000\n", i, []string{"bme280", "bh1750", "ina219", "ads1115"}[i%4], i/4)
	}
	return b.String()
}

// BenchmarkBoardAtRest measures a node on a simulated board with 64 pins and 16 sensors that have
// nothing to tell, at the same time as one without: processor and disk. What real lines
// and buses cost below the drivers is not in it; BenchmarkSixteenSensors in hw/sensor has that of the
// drivers.
func BenchmarkBoardAtRest(b *testing.B) {
	bare, full := withPins(b, ""), withPins(b, fullBoard())
	pause(b.Context(), 5*time.Second) // the first readings and levels are published
	nodes := []*node{bare, full}
	var cpu []time.Duration
	var written []int64
	for _, n := range nodes {
		cpu, written = append(cpu, n.cpu(b)), append(written, n.written())
	}
	began := time.Now()
	pause(b.Context(), 60*time.Second)
	took := time.Since(began)
	for i, n := range nodes {
		cpu[i], written[i] = n.cpu(b)-cpu[i], n.written()-written[i]
	}
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() / took.Seconds() }
	b.ReportMetric(percent(cpu[1]-cpu[0]), "%core")
	b.ReportMetric(percent(cpu[0]), "%core-bare")
	b.ReportMetric(cpu[1].Seconds()/cpu[0].Seconds(), "×bare")
	b.ReportMetric(float64(written[1]), "B-written")
	b.ReportMetric(float64(written[0]), "B-written-bare")
	b.ReportMetric(0, "ns/op")
}

func (n *node) rss(tb testing.TB) float64 {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", n.process().cmd.Process.Pid))
	if err != nil {
		tb.Fatal(err)
	}
	var size, resident float64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		tb.Fatal(err)
	}
	return resident * float64(os.Getpagesize())
}

// cpu returns the processor time of all threads.
func (n *node) cpu(b *testing.B) time.Duration {
	b.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", n.process().cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	var total time.Duration
	for _, name := range threads {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		var ns int64
		if _, err := fmt.Sscan(string(text), &ns); err != nil {
			b.Fatal(err)
		}
		total += time.Duration(ns)
	}
	return total
}

// BenchmarkHTTPPublish measures durable publishes of 256 bytes through HTTP,
// the clients on the same cores.
func BenchmarkHTTPPublish(b *testing.B) {
	for _, publishers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("publishers=%d", publishers), func(b *testing.B) {
			n := startNode(b)
			key := n.key("", "instance:admin")
			body := `"` + strings.Repeat("x", 254) + `"`
			took := make([]time.Duration, b.N)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range publishers {
				wg.Go(func() {
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						began := time.Now()
						if a, err := n.request("POST", "/v1/apps/default/topics/t/events", key, body); err != nil || a.status != 201 {
							b.Errorf("%v %d %s", err, a.status, a.body)
							return
						}
						took[i] = time.Since(began)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			slices.Sort(took)
			at := func(q float64) float64 { return float64(took[int(q*float64(b.N-1))].Microseconds()) }
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(at(0.5), "p50-µs")
			b.ReportMetric(at(0.99), "p99-µs")
		})
	}
}
