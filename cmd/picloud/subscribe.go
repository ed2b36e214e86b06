package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

func (c *cli) subscribeCommand() *cobra.Command {
	var since string
	var latest []string
	var lossless bool
	var count int
	cmd := &cobra.Command{
		Use: "subscribe TOPIC…", Short: "Show events as they come", Args: arguments(1, anyNumber),
		Long: "Shows the events of up to 64 topics as they come, until interrupted. When the node goes away it is\nwaited for, and the stream resumes where it was. With --json every event is one line of JSON.",
		RunE: func(cmd *cobra.Command, args []string) error {
			s := &listener{c: c, cl: c.client(), topics: args, since: since, latest: latest, lossless: lossless, left: count, counted: count > 0}
			err := s.run(cmd.Context())
			if errors.Is(err, errEnough) {
				return nil
			}
			return unlessInterrupted(cmd.Context(), err)
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "begin in the past: an id, a time, a duration such as 10m, all, or latest")
	cmd.Flags().StringArrayVar(&latest, "latest", nil, "show the newest event of this topic first; repeat it for more topics")
	cmd.Flags().BoolVar(&lossless, "lossless", false, "miss nothing, however slowly the output is read")
	cmd.Flags().IntVarP(&count, "count", "n", 0, "end after so many events; 0: never")
	return cmd
}

// listener follows a stream over any number of connections.
type listener struct {
	c        *cli
	cl       *client
	topics   []string
	since    string   // where the first connection begins
	latest   []string // topics whose newest event comes first
	lossless bool
	cursor   string        // where the next connection resumes; empty: where since says
	seen     []string      // topics of which an event has come
	retry    time.Duration // pause before the next connection
	left     int
	counted  bool
	patient  time.Duration // silence after which a connection counts as dead
	quiet    bool          // the node's absence has been told

	take func(e api.Event) error // gets the events instead of the output; nil: they are shown
}

var errEnough = errors.New("enough events")

func (l *listener) run(ctx context.Context) error {
	l.retry = time.Second
	for {
		err := l.connect(ctx)
		if err != nil && !passing(err) {
			return err
		}
		if !l.quiet {
			l.quiet = true
			fmt.Fprintln(l.c.err, "picloud: the stream ended, waiting for the node")
		}
		if err := sleep(ctx, l.retry); err != nil {
			return err
		}
	}
}

// connect follows one connection to its end.
func (l *listener) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	headers := []string{"Accept", "text/event-stream"}
	if l.cursor != "" {
		headers = append(headers, "Last-Event-ID", l.cursor)
	}
	res, err := l.cl.send(ctx, http.MethodGet, l.c.appPath("events")+"?"+l.query().Encode(), nil, headers...)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // only read
	// A board that lost its power says nothing when it goes.
	l.patient = patience
	dead := time.AfterFunc(l.patient, cancel)
	defer dead.Stop()
	return l.read(res.Body, func() { dead.Reset(l.patient) })
}

// query returns what the next connection asks for: since only where the stream
// has not begun, latest only for topics of which no event has come.
func (l *listener) query() url.Values {
	q := url.Values{"topic": l.topics}
	if l.lossless {
		q.Set("lossless", "1")
	}
	latest := l.latest
	switch {
	case l.cursor == "" && l.since != "":
		q.Set("since", l.since)
	case l.since == "latest":
		latest = l.topics
	}
	for _, topic := range latest {
		if !slices.Contains(l.seen, topic) || picloud.IsStateTopic(topic) {
			q.Add("latest", topic)
		}
	}
	return q
}

// advance moves the cursor to an id, if that is further: the newest events of
// topics come with older ids.
func (l *listener) advance(id string) {
	now, err := picloud.ParsePosition(l.cursor)
	next, wrong := picloud.ParsePosition(id)
	if wrong == nil && (err != nil || next.Epoch != now.Epoch || next.Seq > now.Seq) {
		l.cursor = id
	}
}

// longestRetry bounds what a node may ask for.
const longestRetry = 30 * time.Second

// read reads a stream to its end. It calls alive after each line.
func (l *listener) read(body io.Reader, alive func()) error {
	r := bufio.NewReader(body)
	var event, id, data string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil //nolint:nilerr // every connection ends; the next one resumes
		}
		alive()
		field, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			event = value
		case "id":
			id = value
		case "data":
			data += value
		case "retry":
			if ms, err := strconv.Atoi(value); err == nil && ms >= 0 {
				l.retry = time.Duration(min(ms, int(longestRetry/time.Millisecond))) * time.Millisecond
			}
		}
		if strings.TrimRight(line, "\r\n") != "" {
			continue
		}
		if data == "" && id != "" {
			l.advance(id)
		}
		if data != "" {
			if err := l.frame(event, id, data); err != nil {
				return err
			}
		}
		event, id, data = "", "", ""
	}
}

// frame handles one frame.
func (l *listener) frame(event, id, data string) error {
	switch event {
	case "":
		l.advance(id)
		if err := l.show(id, data); err != nil {
			return err
		}
		if l.left--; l.counted && l.left == 0 {
			return errEnough
		}
	case "hello":
		if l.quiet {
			fmt.Fprintln(l.c.err, "picloud: the stream goes on")
		} else {
			fmt.Fprintln(l.c.err, "picloud: listening")
		}
		l.quiet = false
		return l.greeted(data)
	case "gap":
		fmt.Fprintf(l.c.err, "picloud: gap %s\n", plain(data))
	case "reset":
		fmt.Fprintf(l.c.err, "picloud: reset %s\n", plain(data))
		var d struct {
			Position string `json:"position"`
		}
		if err := json.Unmarshal([]byte(data), &d); err != nil {
			return fmt.Errorf("read reset frame: %w", err)
		}
		l.cursor = d.Position // the old one would be reset again at the next connection
	case "expired":
		return fmt.Errorf("the node ended the stream: %s", data)
	}
	return nil
}

// greeted keeps where the stream begins, so that what is published while the
// node is away is shown even when no event came before.
func (l *listener) greeted(data string) error {
	var d struct {
		HeartbeatSec float64 `json:"heartbeat_sec"`
		Resume       string  `json:"resume"`
	}
	if err := json.Unmarshal([]byte(data), &d); err != nil {
		return fmt.Errorf("read hello frame: %w", err)
	}
	if d.Resume != "" { // otherwise the stream ends before it has begun
		l.cursor = d.Resume
	}
	if d.HeartbeatSec > 0 && d.HeartbeatSec <= 3600 {
		l.patient = time.Duration(3*d.HeartbeatSec*float64(time.Second)) + 5*time.Second
	}
	return nil
}

func (l *listener) show(id, data string) error {
	var e api.Event
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		return fmt.Errorf("read event %s: %w", id, err)
	}
	if id == "" {
		id = e.ID
	} else if l.c.json {
		data = fmt.Sprintf("{\"id\":%q,%s", id, strings.TrimPrefix(data, "{"))
	}
	if !slices.Contains(l.seen, e.Topic) {
		l.seen = append(l.seen, e.Topic)
	}
	if l.take != nil {
		return l.take(e)
	}
	if l.c.json {
		l.c.printf("%s\n", data)
	} else {
		l.c.printf("%s  %s  %s  %s\n", e.PublishedAt.Local().Format("15:04:05.000"), id, e.Topic, plain(string(e.Data)))
	}
	return l.c.out.err
}

func (c *cli) eventsCommand() *cobra.Command {
	var since string
	var limit int
	cmd := &cobra.Command{
		Use: "events TOPIC…", Short: "Show the history of topics", Args: arguments(1, anyNumber),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{"topic": args, "limit": {strconv.Itoa(min(limit, 1000))}}
			if since != "" {
				q.Set("since", since)
			}
			path := c.appPath("events") + "?" + q.Encode()
			l := &listener{c: c}
			for limit > 0 && path != "" {
				var page api.History
				if err := c.call(cmd.Context(), http.MethodGet, path, nil, &page); err != nil {
					return err
				}
				for _, e := range page.Events[:min(len(page.Events), limit)] {
					limit--
					b, err := json.Marshal(e)
					if err != nil {
						return err
					}
					if c.json {
						c.printf("%s\n", b)
					} else if err := l.show(e.ID, string(b)); err != nil {
						return err
					}
				}
				path = ""
				if page.Next != nil {
					path = *page.Next
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "begin at an id, a time, a duration such as 10m, all, or latest")
	cmd.Flags().IntVar(&limit, "limit", 100, "events at most")
	return cmd
}
