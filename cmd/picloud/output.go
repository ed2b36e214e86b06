package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/picloud/picloud/api"
)

// output remembers the first fault of writing, so that a full disk behind a
// redirection is not taken for success.
type output struct {
	w   io.Writer
	err error
}

// Write writes through.
func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	if err != nil {
		o.err = fmt.Errorf("write the output: %w", err)
	}
	return n, o.err
}

func (c *cli) printf(format string, args ...any) { fmt.Fprintf(c.out, format, args...) }

// print writes JSON, indented for people.
func (c *cli) print(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	c.printf("%s\n", b)
	return nil
}

// table prints rows under a heading.
func (c *cli) table(heading string, rows [][]string) { tabulate(c.out, heading, rows) }

// tabulate writes rows under a heading.
func tabulate(to io.Writer, heading string, rows [][]string) {
	w := tabwriter.NewWriter(to, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(heading, " ", "\t"))
	for _, r := range rows {
		for i := range r {
			r[i] = plain(r[i])
		}
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	_ = w.Flush() // output remembers its fault
}

// plain takes from a text what a terminal would obey: a description must not
// move the cursor.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, s)
}

// plainLines takes from each line what a terminal would obey.
func plainLines(text string) string {
	var out strings.Builder
	for l := range strings.Lines(text) {
		out.WriteString(plain(strings.TrimSuffix(l, "\n")) + "\n")
	}
	return out.String()
}

// when writes a time for people.
func when(t api.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
