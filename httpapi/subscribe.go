package httpapi

import (
	"net"
	"slices"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/auth"
	"github.com/picloud/picloud/realtime"
)

// credential is what a caller of the events routes shows: a principal, or a
// subscriber token, or neither.
type credential struct {
	principal picloud.Principal
	token     string
}

// credential reads what the caller shows. The header wins over ?token=, which
// counts only for streams, since browsers cannot set headers there, and never
// holds an API key: those do not belong into URLs.
func (s *Server) credential(r *request, stream bool) (credential, error) {
	bearer, given := bearerOf(r.RequestCtx)
	if !given && stream {
		if q := r.QueryArgs().Peek("token"); len(q) > 0 {
			if bearer = string(q); auth.IsAPIKey(bearer) {
				return credential{}, picloud.ErrUnauthenticated
			}
			return credential{token: bearer}, nil
		}
	}
	if given && !auth.IsAPIKey(bearer) {
		if bearer == "" {
			return credential{}, picloud.ErrUnauthenticated
		}
		return credential{token: bearer}, nil
	}
	p, err := s.who(r)
	return credential{principal: p}, err
}

// decide answers whether a caller may read topics, now and from now on.
//
// A caller with the right to subscribe in the app gets every topic. To any other the one
// answer for an app that does not exist, a topic that does not exist and one
// that is internal is the same; only then it matters whether a token is needed.
//
// A refusal that is about one of several topics names it: it says no more than a request for that topic alone.
func (s *Server) decide(app string, topics []string, cred *credential) (realtime.Grant, error) {
	p := &cred.principal
	if picloud.Can(*p, picloud.AppSubscribe, app) {
		if _, err := s.cfg.Store.App(app); err != nil {
			return realtime.Grant{}, err
		}
		if err := s.mayWatchNode(*p, app, topics); err != nil {
			return realtime.Grant{}, err
		}
		if p.Kind != picloud.KindKey {
			return realtime.Grant{}, nil
		}
		if _, alive := s.cfg.Store.APIKey(p.Name); !alive {
			return realtime.Grant{}, picloud.ErrUnauthenticated
		}
		return realtime.Grant{APIKey: p.Name, Expires: p.Expires}, nil
	}
	var closed []string // need a token
	for _, name := range topics {
		t, err := s.cfg.Store.Topic(app, name)
		if err != nil || !t.External {
			return realtime.Grant{}, refusedOf(topics, name, picloud.ErrTopicNotFound)
		}
		if t.AuthMode != picloud.AuthPublic {
			closed = append(closed, name)
		}
	}
	if len(closed) == 0 {
		return realtime.Grant{Outside: true}, nil
	}
	g, err := s.cfg.Authority.VerifyToken(app, closed, cred.token)
	if err != nil {
		return realtime.Grant{}, err
	}
	return realtime.Grant{Outside: true, SigningKey: g.KeyID, Expires: g.Expires}, nil
}

// mayWatchNode answers whether p, who may read all topics of an app, may read
// those of the node among them. They are topics of DefaultApp like any other;
// streams of other apps can carry its states, for those who may see the node.
func (s *Server) mayWatchNode(p picloud.Principal, app string, topics []string) error {
	if app == picloud.DefaultApp {
		return nil
	}
	for _, topic := range topics {
		switch {
		case !picloud.IsNodeTopic(topic):
		case !picloud.IsStateTopic(topic):
			return refusedOf(topics, topic, picloud.ErrTopicNotFound.Detailf("%s is a topic of the app %s", topic, picloud.DefaultApp))
		case !picloud.Can(p, picloud.InstanceRead, ""):
			refusal := picloud.ErrForbidden.Detailf("%s needs a key with the scope %s, or the app %s", topic, picloud.ScopeOf(picloud.InstanceRead), picloud.DefaultApp)
			return refusedOf(topics, topic, refusal)
		}
	}
	return nil
}

// refusedOf returns the refusal of one topic: it names it where the caller asked for several.
func refusedOf(topics []string, topic string, refusal *picloud.Error) *picloud.Error {
	if len(topics) == 1 {
		return refusal
	}
	return refusal.About(topic)
}

// subscribe lets a caller in and hands the connection over to the hub.
func (s *Server) subscribe(r *request, topics []string) error {
	app := r.param("app")
	start, err := s.streamStart(r)
	if err != nil {
		return err
	}
	latest, err := r.latest(topics)
	if err != nil {
		return err
	}
	cred, err := s.credential(r, true)
	if err != nil {
		return err
	}
	grant, err := s.decide(app, topics, &cred)
	if err != nil {
		return err
	}
	s.cors(r)
	if r.IsHead() {
		r.SetContentType("text/event-stream; charset=utf-8")
		return nil
	}
	seat, err := s.cfg.Hub.Reserve(app, s.address(r.RequestCtx))
	if err != nil {
		return err
	}
	sub := realtime.Subscription{
		App: app, Topics: topics, Start: start, Latest: latest, Lossless: r.QueryArgs().GetBool("lossless"),
		Head: realtime.ResponseHead(s.allowedOrigin(r.RequestCtx, app)), Grant: grant,
		Recheck: func() error {
			_, err := s.decide(app, topics, &cred)
			return err
		},
	}
	r.HijackSetNoResponse(true)
	r.Hijack(func(c net.Conn) {
		conn, ok := c.(interface{ UnsafeConn() net.Conn })
		if !ok {
			s.log.Error("connection cannot be taken over")
			seat.Release()
			_ = c.Close()
			return
		}
		under := conn.UnsafeConn()
		_ = under.SetDeadline(time.Time{}) // those of the request are over
		seat.Attach(under, sub)
	})
	return nil
}

// latest reads the topics of which a stream brings the newest event first.
func (r *request) latest(topics []string) ([]string, error) {
	var latest []string
	for _, name := range r.QueryArgs().PeekMulti("latest") {
		topic := string(name)
		if !slices.Contains(topics, topic) {
			return nil, errQuery.Detailf("latest: %q is not a topic of this stream; name topics as ?topic= does", topic)
		}
		if !slices.Contains(latest, topic) { // so that it stays as bounded as topics are
			latest = append(latest, topic)
		}
	}
	return latest, nil
}

// streamStart reads where a stream begins: browsers send Last-Event-ID when they
// come back; others say it in the query.
func (s *Server) streamStart(r *request) (picloud.Start, error) {
	if id := r.Request.Header.Peek("Last-Event-ID"); len(id) > 0 {
		pos, err := picloud.ParsePosition(string(id))
		if err != nil {
			pos = picloud.Position{} // of no history: the browser gets one reset, as it cannot be told otherwise
		}
		return picloud.Start{Mode: picloud.StartAfter, Position: pos}, nil
	}
	if id := r.QueryArgs().Peek("last_event_id"); len(id) > 0 {
		pos, err := picloud.ParsePosition(string(id))
		return picloud.Start{Mode: picloud.StartAfter, Position: pos}, err
	}
	if since := r.QueryArgs().Peek("since"); len(since) > 0 {
		return parseSince(string(since), s.cfg.Store.Now())
	}
	return picloud.Start{}, nil
}
