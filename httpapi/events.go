package httpapi

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/check"
)

// maxTopics is how many topics one stream or query may have.
const maxTopics = 64

// topicEvents is the history or the live stream of one topic.
func (s *Server) topicEvents(r *request) error {
	return s.events(r, []string{r.param("topic")})
}

// appEvents is the history or the live stream of the topics in the query.
func (s *Server) appEvents(r *request) error {
	var topics []string
	seen := map[string]bool{}
	for _, t := range r.QueryArgs().PeekMulti("topic") {
		if name := string(t); !seen[name] {
			seen[name] = true
			topics = append(topics, name)
		}
	}
	switch {
	case len(topics) == 0:
		return errQuery.Detailf("name the topics: ?topic=a&topic=b")
	case len(topics) > maxTopics:
		return errQuery.Detailf("%d topics, at most %d fit on one stream", len(topics), maxTopics)
	}
	return s.events(r, topics)
}

func (s *Server) events(r *request, topics []string) error {
	for _, t := range topics {
		if err := check.AnyTopicName(t); err != nil {
			return err
		}
	}
	if wantsStream(r.RequestCtx) {
		return s.subscribe(r, topics)
	}
	return s.history(r, topics)
}

// wantsStream reports whether the caller asks for an event stream by name.
func wantsStream(ctx *fasthttp.RequestCtx) bool {
	return strings.Contains(strings.ToLower(string(ctx.Request.Header.Peek("Accept"))), "text/event-stream")
}

// maxHistoryBytes bounds the data of an answer, which a reader may take slowly.
const maxHistoryBytes = 1 << 20

// history answers a page of past events.
func (s *Server) history(r *request, topics []string) error {
	app := r.param("app")
	q := picloud.HistoryQuery{App: app, Topics: topics, Limit: 100, Bytes: maxHistoryBytes}
	if text := r.QueryArgs().Peek("limit"); text != nil {
		n, err := strconv.Atoi(string(text))
		if err != nil || n < 1 || n > 1000 {
			return errQuery.Detailf("limit: use 1 to 1000")
		}
		q.Limit = n
	}
	start, err := s.historyStart(r)
	if err != nil {
		return err
	}
	cred, err := s.credential(r, false)
	if err != nil {
		return err
	}
	if _, err := s.decide(app, topics, &cred); err != nil {
		return err
	}
	s.cors(r)
	events, next, err := s.page(r, q, start)
	if err != nil {
		return err
	}
	page := api.History{Events: make([]api.Event, len(events))}
	for i := range events {
		page.Events[i] = eventBody(&events[i])
	}
	if next != 0 {
		link, err := s.nextLink(r, topics, next)
		if err != nil {
			return err
		}
		page.Next = &link
	}
	return r.reply(fasthttp.StatusOK, page)
}

// page reads events from a start on; next is 0 when there are no more.
func (s *Server) page(r *request, q picloud.HistoryQuery, start picloud.Start) (events []picloud.Event, next uint64, err error) {
	switch start.Mode {
	case picloud.StartLatest:
		events, err = s.cfg.Store.Latest(r.patience(), q.App, q.Topics)
		return events, 0, err
	case picloud.StartAfter:
		if err := s.cfg.Store.CheckPosition(q.App, q.Topics, start.Position); err != nil {
			return nil, 0, err
		}
		q.After = start.Position.Seq
	case picloud.StartAt:
		if q.After, err = s.cfg.Store.Before(r.patience(), q.App, q.Topics, start.Time); err != nil {
			return nil, 0, err
		}
	case picloud.StartLive, picloud.StartAll: // from the oldest on
	}
	page, err := s.cfg.Store.Events(r.patience(), q)
	if err == nil && page.More {
		next = page.Next
	}
	return page.Events, next, err
}

func (s *Server) nextLink(r *request, topics []string, next uint64) (string, error) {
	head, err := s.cfg.Store.Head(r.param("app"))
	if err != nil {
		return "", err // deleted this moment
	}
	head.Seq = next
	q := url.Values{"after": {head.String()}}
	if limit := r.QueryArgs().Peek("limit"); limit != nil {
		q.Set("limit", string(limit))
	}
	path := "/v1/apps/" + r.param("app")
	if topic := r.param("topic"); topic != "" {
		return path + "/topics/" + url.PathEscape(topic) + "/events?" + q.Encode(), nil
	}
	q["topic"] = topics
	return path + "/events?" + q.Encode(), nil
}

// historyStart reads where a page begins.
func (s *Server) historyStart(r *request) (picloud.Start, error) {
	after, since := r.QueryArgs().Peek("after"), r.QueryArgs().Peek("since")
	switch {
	case after != nil && since != nil:
		return picloud.Start{}, errQuery.Detailf("use after or since, not both")
	case after != nil:
		pos, err := picloud.ParsePosition(string(after))
		return picloud.Start{Mode: picloud.StartAfter, Position: pos}, err
	case since != nil:
		return parseSince(string(since), s.cfg.Store.Now())
	}
	return picloud.Start{Mode: picloud.StartAll}, nil
}

// parseSince reads the value of ?since=.
func parseSince(text string, now time.Time) (picloud.Start, error) {
	switch text {
	case "all":
		return picloud.Start{Mode: picloud.StartAll}, nil
	case "latest":
		return picloud.Start{Mode: picloud.StartLatest}, nil
	}
	if pos, err := picloud.ParsePosition(text); err == nil {
		return picloud.Start{Mode: picloud.StartAfter, Position: pos}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return picloud.Start{Mode: picloud.StartAt, Time: t}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return picloud.Start{Mode: picloud.StartAt, Time: now.AddDate(0, 0, -int(n))}, nil // #nosec G115 -- 16 bits
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return picloud.Start{Mode: picloud.StartAt, Time: now.Add(-d)}, nil
	}
	return picloud.Start{}, errQuery.Detailf("since: use an id, a time such as 2026-01-31T08:00:00Z, a duration such as 10m or 7d, all, or latest")
}

// showEvent answers one event, and how durable it is by now.
func (s *Server) showEvent(r *request) error {
	pos, err := picloud.ParsePosition(r.param("id"))
	if err != nil {
		return err
	}
	e, err := s.cfg.Store.Event(r.patience(), r.param("app"), pos)
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, eventBody(&e))
}

func eventBody(e *picloud.Event) api.Event {
	b := api.Event{
		ID: e.Position.String(), Topic: e.Topic, Data: e.Data, PublishedAt: api.At(e.PublishedAt),
		Source: e.Source, Durability: string(e.Durability),
	}
	if e.Stamp != nil {
		b.Clock = "unsynced"
	}
	if !e.CentralAt.IsZero() {
		b.CentralAt = new(api.At(e.CentralAt))
	}
	return b
}
