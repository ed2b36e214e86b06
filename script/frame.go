package script

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/picloud/picloud"
)

// frameKind says what a frame holds. The two sides take turns: after a job or
// replies the worker has the floor, after calls, a need or the end the daemon
// has it. Lines may come whenever the worker has the floor.
type frameKind byte

const (
	frameReady   frameKind = iota // worker: it is locked in and waits for a job
	frameJob                      // daemon: jobBody
	frameNeed                     // worker: the name of a script whose source it needs
	frameModule                   // daemon: moduleBody
	frameLine                     // worker: lineBody
	frameCalls                    // worker: []callBody; it now waits for replies
	frameReplies                  // daemon: []replyBody, at least one
	frameDone                     // worker: doneBody
)

// maxFrame bounds what one side makes the other hold in memory: a MiB of text each
// character of which has to be escaped fits in, and a script.
const maxFrame = 8 << 20

type jobBody struct {
	App    string          `json:"app"`
	Script string          `json:"script"`
	Export string          `json:"export"`
	Input  json.RawMessage `json:"input,omitempty"` // sent behind the others, see sendWith
	Ctx    json.RawMessage `json:"ctx"`
	Check  bool            `json:"check,omitempty"` // only read the script
	Source string          `json:"source"`
	Limits Limits          `json:"limits"`
}

type moduleBody struct {
	Source string     `json:"source,omitempty"`
	Error  *callError `json:"error,omitempty"`
}

type lineBody struct {
	Level string `json:"level"`
	Text  string `json:"text"`
	Cut   bool   `json:"cut,omitempty"` // there was more of it
}

type callBody struct {
	ID     int               `json:"id"`
	Module string            `json:"module"`
	Method string            `json:"method"`
	Args   []json.RawMessage `json:"args"`
}

type replyBody struct {
	ID    int             `json:"id"`
	Value json.RawMessage `json:"value,omitempty"`
	Error *callError      `json:"error,omitempty"`
}

// callError is a public error as scripts see it.
type callError struct {
	Code   string `json:"code"`
	Type   string `json:"type"`
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"`
}

type doneBody struct {
	Output   json.RawMessage `json:"output,omitempty"`
	Response bool            `json:"response,omitempty"` // Output is one of the SDK's responses
	Error    *Error          `json:"error,omitempty"`
}

// conn sends and takes frames: length u32 (little endian) · kind · body. One
// goroutine may send while another receives.
type conn struct {
	rw  io.ReadWriter
	r   *bufio.Reader // over rw; nil: nothing was received yet
	in  []byte
	out []byte
}

var errFrame = errors.New("malformed frame")

func (c *conn) send(k frameKind, body any) error {
	if body == nil {
		return c.write(k)
	}
	b, err := picloud.EncodeJSON(body)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	return c.write(k, b)
}

// sendWith sends an object and one field more, whose value is JSON already and may be
// large: it is not copied.
func (c *conn) sendWith(k frameKind, body any, field string, value []byte) error {
	b, err := picloud.EncodeJSON(body)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	b = fmt.Appendf(b[:len(b)-1], ",%q:", field)
	return c.write(k, b, value, []byte("}"))
}

// write sends a frame that consists of parts.
func (c *conn) write(k frameKind, parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if n > maxFrame {
		return fmt.Errorf("%w: %d bytes to send", errFrame, n)
	}
	c.out = binary.LittleEndian.AppendUint32(c.out[:0], uint32(n)) // #nosec G115 -- at most maxFrame
	c.out = append(c.out, byte(k))
	for _, p := range parts {
		if len(c.out)+len(p) <= maxKept { // one call of the kernel is quicker than two
			c.out = append(c.out, p...)
			continue
		}
		if err := c.flush(); err != nil {
			return err
		}
		if _, err := c.rw.Write(p); err != nil {
			return fmt.Errorf("send frame: %w", err)
		}
	}
	return c.flush()
}

// flush sends what out holds.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.rw.Write(c.out)
	if c.out = c.out[:0]; err != nil {
		return fmt.Errorf("send frame: %w", err)
	}
	return nil
}

// rest lets go of what a large frame has left behind, before a time without any.
func (c *conn) rest() { c.in = shrink(c.in) }

// receive returns the next frame. Its body is valid until the next call.
func (c *conn) receive() (frameKind, []byte, error) {
	if c.r == nil {
		c.r = bufio.NewReader(c.rw)
	}
	var head [5]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("receive frame: %w", err)
	}
	n := binary.LittleEndian.Uint32(head[:4])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("%w: %d bytes", errFrame, n)
	}
	if c.in = shrink(c.in); cap(c.in) < int(n) {
		c.in = make([]byte, n)
	}
	c.in = c.in[:n]
	if _, err := io.ReadFull(c.r, c.in); err != nil {
		return 0, nil, fmt.Errorf("receive frame: %w", err)
	}
	return frameKind(head[4]), c.in, nil
}

// maxKept is how large a buffer may be that stays for the next frame.
const maxKept = 64 << 10

// shrink lets go of a buffer that one large frame has left behind.
func shrink(b []byte) []byte {
	if cap(b) > maxKept {
		return nil
	}
	return b
}

// parse reads the body of a frame.
func parse[T any](body []byte) (T, error) {
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("%w: %w", errFrame, err)
	}
	return v, nil
}
