package stats

import (
	"fmt"
	"os"
	"runtime/metrics"
)

// heap returns the bytes of the objects on the heap, without stopping the world.
func heap() *uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(samples)
	if samples[0].Value.Kind() != metrics.KindUint64 {
		return nil
	}
	n := samples[0].Value.Uint64()
	return &n
}

// resident returns the memory that the process has.
func resident() *uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return nil
	}
	var size, pages uint64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return nil
	}
	n := pages * uint64(os.Getpagesize()) // #nosec G115 -- positive
	return &n
}
