package publish

import (
	"bytes"
	"sync"
)

// keepBuffer is the largest buffer that is kept for the next publication: rare
// large ones shall not stay in the memory of a small board.
const keepBuffer = 64 << 10

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func takeBuffer() *bytes.Buffer { return buffers.Get().(*bytes.Buffer) }

func giveBuffer(b *bytes.Buffer) {
	if b.Cap() <= keepBuffer {
		b.Reset()
		buffers.Put(b)
	}
}
