package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// bareFile writes a content as safely as it can be written without a node: hashed,
// fsynced under another name, renamed, the directory fsynced.
func bareFile(dir, name string, content []byte) error {
	_ = sha256.Sum256(content)
	part := filepath.Join(dir, name+".tmp")
	f, err := os.Create(part)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close(), os.Rename(part, filepath.Join(dir, name)))
	d, derr := os.Open(dir)
	if derr != nil {
		return derr
	}
	return errors.Join(err, d.Sync(), d.Close())
}

// BenchmarkFiles measures writing and reading files over HTTP, one after another,
// beside doing the same on the disk without a node, in turns.
func BenchmarkFiles(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20, 64 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			n := startNode(b)
			key := n.key("default", "app:read", "app:write")
			content := make([]byte, size)
			for i := range content {
				content[i] = byte(rand.Uint32())
			}
			bare := filepath.Join(filepath.Dir(n.data), "bare")
			if err := os.MkdirAll(bare, 0o700); err != nil {
				b.Fatal(err)
			}
			send := func(method string, body io.Reader) {
				req, err := http.NewRequestWithContext(b.Context(), method, n.url+"/v1/apps/default/files/f", body)
				if err != nil {
					b.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+key)
				res, err := httpClient.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				_, err = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if err != nil || res.StatusCode != 200 {
					b.Fatal(res.Status, err)
				}
			}
			var put, get, floor, read time.Duration
			timed := func(into *time.Duration, fn func()) {
				began := time.Now()
				fn()
				*into += time.Since(began)
			}
			b.ResetTimer()
			for range b.N {
				timed(&put, func() { send("PUT", bytes.NewReader(content)) })
				timed(&floor, func() {
					if err := bareFile(bare, "f", content); err != nil {
						b.Fatal(err)
					}
				})
				timed(&get, func() { send("GET", nil) })
				timed(&read, func() {
					if _, err := os.ReadFile(filepath.Join(bare, "f")); err != nil {
						b.Fatal(err)
					}
				})
			}
			mb := float64(size) * float64(b.N) / (1 << 20)
			b.ReportMetric(mb/put.Seconds(), "put-MiB/s")
			b.ReportMetric(put.Seconds()/floor.Seconds(), "put-×bare")
			b.ReportMetric(mb/get.Seconds(), "get-MiB/s")
			b.ReportMetric(float64(put.Microseconds())/float64(b.N), "put-µs")
			b.ReportMetric(n.peak(b)/(1<<20), "peak-MiB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// peak returns the most memory that the node ever held, in bytes.
func (n *node) peak(tb testing.TB) float64 {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.process().cmd.Process.Pid))
	if err != nil {
		tb.Fatal(err)
	}
	_, text, _ = bytes.Cut(text, []byte("VmHWM:"))
	var kib float64
	if _, err := fmt.Sscan(string(text), &kib); err != nil {
		tb.Fatal(err)
	}
	return kib * 1024
}
