// Package logtest has what tests write logs and output to while they read them. It judges
// nothing.
package logtest

import (
	"bytes"
	"strings"
	"sync"
)

// Buffer is a buffer that may be read while it is written. Its zero value is empty, and its
// methods may be called concurrently.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns what was written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Count returns how often a text was written.
func (b *Buffer) Count(text string) int { return strings.Count(b.String(), text) }
