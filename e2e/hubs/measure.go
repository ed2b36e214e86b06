package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// medians takes the median of each column.
func medians(rows [][]float64) []float64 {
	out := make([]float64, len(rows[0]))
	for i := range out {
		var column []float64
		for _, r := range rows {
			column = append(column, r[i])
		}
		slices.Sort(column)
		out[i] = column[len(column)/2]
	}
	return out
}

// windows are the loads: the next event only when the last is everywhere, and
// sixteen events in flight.
var windows = []int{1, 16}

// fanout measures deliveries a second and what each costs the server.
func (o *options) fanout(w io.Writer) error {
	fmt.Fprintf(w, "\n| subscribers | in flight | server | deliveries/s | ÷ nchan | ÷ bare | µs CPU/delivery |\n|---:|---:|---|---:|---:|---:|---:|\n")
	var chart chart
	for _, n := range o.subscribers {
		for _, window := range windows {
			got, err := o.each(func(s server) ([]float64, error) { return o.pump(s, n, window) })
			if err != nil {
				return err
			}
			for _, name := range o.servers {
				v := got[name]
				fmt.Fprintf(w, "| %d | %d | %s | %.0f | %s | %s | %.2f |\n", n, window, name, v[0], ratio(v, got["nchan"], 0), ratio(v, got["bare"], 0), v[1])
				chart.add(fmt.Sprintf("%d subscribers, %d in flight", n, window), name, v[0])
			}
		}
	}
	if o.svg == "" {
		return nil
	}
	return os.WriteFile(o.svg, chart.svg("deliveries a second, server on one core"), 0o600)
}

func ratio(v, of []float64, i int) string {
	if of == nil {
		return ""
	}
	return fmt.Sprintf("%.2f", v[i]/of[i])
}

// pump publishes as fast as the window lets it.
func (o *options) pump(s server, subscribers, window int) ([]float64, error) {
	c, err := newCrowd(s, subscribers, window)
	if err != nil {
		return nil, err
	}
	defer c.close()
	run := func(d time.Duration) error {
		for end := time.Now().Add(d); time.Now().Before(end); {
			for c.behind() < window {
				ok, err := c.publish()
				if err != nil {
					return err
				}
				if !ok {
					break
				}
			}
			if err := c.turn(100 * time.Millisecond); err != nil {
				return err
			}
		}
		return c.settle()
	}
	if err := run(o.time / 5); err != nil { // warm
		return nil, err
	}
	before, err := s.usage()
	if err != nil {
		return nil, err
	}
	began, had := time.Now(), c.delivered
	if err := run(o.time); err != nil {
		return nil, err
	}
	took := time.Since(began).Seconds()
	after, err := s.usage()
	if err != nil {
		return nil, err
	}
	deliveries := float64(c.delivered - had)
	return []float64{deliveries / took, float64((after.cpu - before.cpu).Nanoseconds()) / 1000 / deliveries}, nil
}

// latencies collects how long deliveries took.
type latencies struct{ all []time.Duration }

// read takes the times out of what has come and returns what is left of a frame
// that is not whole yet.
func (l *latencies) read(b []byte) (rest []byte) {
	const digits = 19
	now := time.Now().UnixNano()
	for {
		i := bytes.IndexByte(b, mark)
		if i < 0 {
			return b[:0]
		}
		if len(b) < i+1+digits {
			return b[i:]
		}
		if sent, err := strconv.ParseInt(string(b[i+1:i+1+digits]), 10, 64); err == nil {
			l.all = append(l.all, time.Duration(now-sent))
		}
		b = b[i+1+digits:]
	}
}

// latency measures from publishing to the subscriber at 20 000 deliveries a
// second.
func (o *options) latency(w io.Writer) error {
	const subscribers, deliveries = 1000, 20_000
	got, err := o.each(func(s server) ([]float64, error) {
		c, err := newCrowd(s, subscribers, 4)
		if err != nil {
			return nil, err
		}
		defer c.close()
		c.latencies = new(latencies)
		before, err := s.usage()
		if err != nil {
			return nil, err
		}
		every := time.Second * subscribers / deliveries
		next := time.Now()
		for end := next.Add(max(o.time, 5*time.Second)); time.Now().Before(end); {
			if wait := time.Until(next); wait > 0 {
				if err := c.turn(min(wait, time.Millisecond)); err != nil {
					return nil, err
				}
				continue
			}
			next = next.Add(every)
			if _, err := c.publish(); err != nil {
				return nil, err
			}
		}
		if err := c.settle(); err != nil {
			return nil, err
		}
		after, err := s.usage()
		if err != nil {
			return nil, err
		}
		all := c.latencies.all
		slices.Sort(all)
		at := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))].Microseconds()) / 1000 }
		return []float64{at(0.5), at(0.99), float64((after.cpu - before.cpu).Nanoseconds()) / 1000 / float64(c.delivered)}, nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\n| server | p50 ms | p99 ms | p99 ÷ nchan | µs CPU/delivery | ÷ nchan |\n|---|---:|---:|---:|---:|---:|\n")
	for _, name := range o.servers {
		v := got[name]
		fmt.Fprintf(w, "| %s | %.2f | %.2f | %s | %.2f | %s |\n", name, v[0], v[1], ratio(v, got["nchan"], 1), v[2], ratio(v, got["nchan"], 2))
	}
	return nil
}

// memory measures what an idle subscriber adds to the server, and what both
// ends of its connection cost the kernel.
func (o *options) memory(w io.Writer) error {
	n := slices.Max(o.subscribers)
	got, err := o.each(func(s server) ([]float64, error) {
		before, err := s.usage()
		if err != nil {
			return nil, err
		}
		kernel, err := socketMemory()
		if err != nil {
			return nil, err
		}
		c, err := newCrowd(s, n, 1)
		if err != nil {
			return nil, err
		}
		defer c.close()
		time.Sleep(2 * time.Second)
		idle, err := s.usage()
		if err != nil {
			return nil, err
		}
		for range 20 {
			if _, err := c.publish(); err != nil {
				return nil, err
			}
			if err := c.settle(); err != nil {
				return nil, err
			}
		}
		used, err := s.usage()
		if err != nil {
			return nil, err
		}
		kernelNow, err := socketMemory()
		if err != nil {
			return nil, err
		}
		each := func(b int64) float64 { return float64(b) / float64(n) / 1000 }
		return []float64{each(idle.rss - before.rss), each(used.rss - before.rss), each(kernelNow - kernel)}, nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\n| server | kB RSS per idle subscriber (%d) | after 20 events | kB of kernel sockets, both ends |\n|---|---:|---:|---:|\n", n)
	for _, name := range o.servers {
		v := got[name]
		fmt.Fprintf(w, "| %s | %.2f | %.2f | %.2f |\n", name, v[0], v[1], v[2])
	}
	return nil
}

// socketMemory returns the bytes that the kernel's slabs hold, which is where
// sockets lie.
func socketMemory() (int64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Slab:"); ok {
			var kb int64
			_, err := fmt.Sscan(rest, &kb)
			return kb * 1024, err
		}
	}
	return 0, fmt.Errorf("no Slab in /proc/meminfo")
}
