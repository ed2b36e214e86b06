package spool

import (
	"bytes"
	"testing"

	"github.com/picloud/picloud"
)

// Whatever a file holds: every line that is not blank becomes one event, in
// order, in publications that are not too large, and the cut depends on nothing
// else.
func FuzzSplit(f *testing.F) {
	f.Add([]byte("1\n2\n"), true)
	f.Add([]byte("\r\n{\"a\":1}\r\n\n  \n[2]"), true)
	f.Add([]byte(" \n\t"), true)
	f.Add([]byte("{\n}"), false)
	f.Add(bytes.Repeat([]byte("1\n"), picloud.MaxBatch+1), true)
	f.Fuzz(func(t *testing.T, content []byte, lines bool) {
		place := Place{App: "shop", Topic: "t", Lines: lines}
		parts, err := split(place, content)
		if blank := len(bytes.TrimSpace(content)) == 0; blank != (err != nil) {
			t.Fatalf("%d parts, %v of %q", len(parts), err, content)
		}
		var want [][]byte
		for l := range bytes.Lines(content) {
			if l = bytes.TrimSpace(l); len(l) > 0 {
				want = append(want, l)
			}
		}
		if !lines && err == nil {
			want = [][]byte{content}
		}
		last := 0
		for _, p := range parts {
			size := 0
			for i, d := range p.drafts {
				if len(want) == 0 || !bytes.Equal(d.Data, want[0]) || d.Topic != "t" || p.lines[i] <= last {
					t.Fatalf("draft %q of line %d after line %d", d.Data, p.lines[i], last)
				}
				want, last, size = want[1:], p.lines[i], size+len(d.Data)
			}
			if len(p.drafts) == 0 || len(p.drafts) > picloud.MaxBatch || (size > picloud.MaxBatchBytes && len(p.drafts) > 1) {
				t.Fatalf("a part of %d drafts and %d bytes", len(p.drafts), size)
			}
		}
		if len(want) > 0 {
			t.Fatalf("%d lines are missing", len(want))
		}
	})
}
