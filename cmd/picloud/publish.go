package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/backoff"
)

func (c *cli) publishCommand() *cobra.Command {
	var lines bool
	var key string
	cmd := &cobra.Command{
		Use: "publish TOPIC [DATA]", Short: "Publish an event, or one for each line of input",
		Long:    "Publishes DATA, or what is read from standard input when it is missing or '-'. What is not JSON is\nsent as a JSON string. With --lines every line of input is an event as soon as it is there; a node\nthat is away is waited for, and nothing is lost or doubled.",
		Example: "  picloud publish door '{\"open\":true}'\n  vmstat 1 | picloud publish --lines load",
		Args:    arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := c.appPath("topics", args[0], "events")
			if lines {
				if len(args) == 2 {
					return fmt.Errorf("%w: with --lines the data come from standard input", errUsage)
				}
				return c.publishLines(cmd.Context(), path)
			}
			var data []byte
			if len(args) == 2 && args[1] != "-" {
				data = []byte(args[1])
			} else {
				var err error
				if data, err = io.ReadAll(io.LimitReader(c.in, picloud.LimitMaxData+1)); err != nil {
					return fmt.Errorf("read standard input: %w", err)
				}
			}
			var headers []string
			if key != "" {
				headers = []string{"Idempotency-Key", key}
			}
			p, err := c.publish(cmd.Context(), c.client(), path, asJSON(data), headers...)
			if err != nil {
				return err
			}
			if c.json {
				return c.print(p)
			}
			c.printf("%s\n", p.ID)
			return nil
		},
	}
	cmd.Flags().BoolVar(&lines, "lines", false, "publish each line of standard input as it comes")
	cmd.Flags().StringVar(&key, "idempotency-key", "", "a repeat with the same key answers the first event again")
	return cmd
}

// asJSON returns data when it is JSON, else a JSON string of it.
func asJSON(data []byte) []byte {
	if json.Valid(data) {
		return data
	}
	text, err := json.Marshal(string(bytes.TrimRight(data, "\r\n")))
	if err != nil {
		panic(err) // a string always can be
	}
	return text
}

func (c *cli) publish(ctx context.Context, cl *client, path string, data []byte, headers ...string) (api.Published, error) {
	var p api.Published
	res, err := cl.send(ctx, http.MethodPost, path, data, headers...)
	if err != nil {
		return p, err
	}
	defer func() { _ = res.Body.Close() }() // only read
	return p, readAnswer(res.Body, &p)
}

// publishLines publishes each line of input.
func (c *cli) publishLines(ctx context.Context, path string) error {
	q := c.newPatient(path)
	in := newLineReader(c.in)
	for n := 1; ; n++ {
		line, err := in.next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("line %d of standard input: %w", n, err)
		case len(line) == 0:
			continue
		}
		if err := q.publish(ctx, asJSON(line)); err != nil {
			return fmt.Errorf("line %d of standard input: %w", n, err)
		}
	}
}

// lineReader reads lines and can be interrupted while none comes, which a read
// from a pipe or a terminal cannot.
type lineReader struct {
	lines chan []byte
	err   error // why lines was closed
}

// newLineReader begins to read. Its goroutine ends with the input, or with the
// process: nothing else ends a read.
func newLineReader(r io.Reader) *lineReader {
	l := &lineReader{lines: make(chan []byte)}
	go func() {
		in := bufio.NewScanner(r)
		in.Buffer(nil, picloud.LimitMaxData)
		for in.Scan() {
			l.lines <- bytes.Clone(in.Bytes())
		}
		if l.err = in.Err(); l.err == nil {
			l.err = io.EOF
		}
		close(l.lines)
	}()
	return l
}

// next returns the next line, or io.EOF after the last.
func (l *lineReader) next(ctx context.Context) ([]byte, error) {
	select {
	case line, more := <-l.lines:
		if !more {
			return nil, l.err
		}
		return line, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// patient publishes one event after the other and waits for a node that is
// away. Each event has an idempotency key, so that one whose answer was lost is
// not doubled.
type patient struct {
	c    *cli
	cl   *client
	path string
	run  string
	n    int
}

func (c *cli) newPatient(path string) *patient {
	return &patient{c: c, cl: c.client(), path: path, run: rand.Text()}
}

func (q *patient) publish(ctx context.Context, data []byte) error {
	q.n++
	key := fmt.Sprintf("%s-%d", q.run, q.n)
	return q.c.untilAnswered(ctx, func() error {
		_, err := q.c.publish(ctx, q.cl, q.path, data, "Idempotency-Key", key)
		return err
	})
}

// untilAnswered repeats a request that is safe to repeat until the node answers
// it, with yes or no.
func (c *cli) untilAnswered(ctx context.Context, request func() error) error {
	pause := backoff.Backoff{Min: 200 * time.Millisecond, Max: 5 * time.Second}
	for {
		err := request()
		if err == nil || !passing(err) {
			return err
		}
		if pause.Failures() == 0 {
			fmt.Fprintln(c.err, "picloud: waiting for the node:", err)
		}
		if err := sleep(ctx, pause.Next()); err != nil {
			return err
		}
	}
}

// passing reports whether an error may go away by itself.
func passing(err error) bool {
	if refused, ok := errors.AsType[*refusedError](err); ok {
		return refused.exitCode() == exitBusy
	}
	return errors.Is(err, errUnreachable) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// sleep waits, or returns the cause of ctx's end.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
