package httpapi

import (
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

func topicBody(t picloud.Topic) api.Topic {
	return api.Topic{
		App: t.App, Name: t.Name, Description: t.Description, External: t.External,
		AuthMode: string(t.AuthMode), Durability: string(t.Durability),
		Retention: api.Retention{MaxEvents: t.Retention.MaxEvents, MaxAgeSec: int64(t.Retention.MaxAge / time.Second), MaxBytes: t.Retention.MaxBytes},
		CreatedAt: api.At(t.CreatedAt), UpdatedAt: api.At(t.UpdatedAt),
	}
}

func (s *Server) listTopics(r *request) error {
	topics, err := s.cfg.Store.Topics(r.param("app"))
	if err != nil {
		return err
	}
	list := api.Topics{Topics: make([]api.Topic, len(topics))}
	for i, t := range topics {
		list.Topics[i] = topicBody(t)
	}
	return r.reply(fasthttp.StatusOK, list)
}

// listPublicTopics answers which topics of an app anybody may subscribe to. An app that
// does not exist has none: the answer does not tell whether there is one.
func (s *Server) listPublicTopics(r *request) error {
	list := api.PublicTopics{Topics: []api.PublicTopic{}}
	topics, err := s.cfg.Store.Topics(r.param("app"))
	if err != nil && !errors.Is(err, picloud.ErrAppNotFound) {
		return err
	}
	for i := range topics {
		t := &topics[i]
		if t.External && t.AuthMode == picloud.AuthPublic && len(list.Topics) < picloud.MaxPage {
			list.Topics = append(list.Topics, api.PublicTopic{Name: t.Name, Description: t.Description})
		}
	}
	if len(list.Topics) > 0 {
		s.cors(r)
	}
	return r.reply(fasthttp.StatusOK, list)
}

func (s *Server) createTopic(r *request) error {
	var b api.NewTopic
	if err := r.decode(&b, false); err != nil {
		return err
	}
	var retention picloud.Retention
	if b.Retention != nil {
		var err error
		if retention, err = b.Retention.Limits(); err != nil {
			return err
		}
	}
	t, err := s.cfg.Store.CreateTopic(r.patience(), picloud.Topic{
		App: r.param("app"), Name: b.Name, Description: b.Description, External: b.External,
		AuthMode: picloud.AuthMode(b.AuthMode), Durability: picloud.Durability(b.Durability), Retention: retention,
	})
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusCreated, topicBody(t))
}

func (s *Server) showTopic(r *request) error {
	t, err := s.cfg.Store.Topic(r.param("app"), r.param("topic"))
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, topicBody(t))
}

func (s *Server) updateTopic(r *request) error {
	var b api.TopicPatch
	if err := r.decode(&b, false); err != nil {
		return err
	}
	if b.External != nil {
		return picloud.ErrExternalField
	}
	p := picloud.TopicPatch{Description: b.Description, AuthMode: (*picloud.AuthMode)(b.AuthMode), Durability: (*picloud.Durability)(b.Durability)}
	if b.Retention != nil {
		retention, err := b.Retention.Limits()
		if err != nil {
			return err
		}
		p.Retention = &retention
	}
	t, err := s.cfg.Store.UpdateTopic(r.patience(), r.param("app"), r.param("topic"), p)
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, topicBody(t))
}

func (s *Server) setExternal(r *request) error {
	var b api.ExternalPatch
	if err := r.decode(&b, false); err != nil {
		return err
	}
	if b.External == nil {
		return errBody.Detailf("send {\"external\": true} or {\"external\": false}")
	}
	app, name := r.param("app"), r.param("topic")
	t, err := s.cfg.Store.SetExternal(r.patience(), app, name, *b.External)
	if errors.Is(err, picloud.ErrTopicNotFound) && app == picloud.DefaultApp && picloud.IsNodeTopic(name) {
		t, err = s.registerNodeTopic(r, name, *b.External)
	}
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, topicBody(t))
}

// registerNodeTopic registers a topic of the node, which is there without being
// registered. Another request may have been first.
func (s *Server) registerNodeTopic(r *request, name string, external bool) (picloud.Topic, error) {
	t, err := s.cfg.Store.CreateTopic(r.patience(), picloud.Topic{App: picloud.DefaultApp, Name: name, External: external})
	if errors.Is(err, picloud.ErrTopicExists) {
		return s.cfg.Store.SetExternal(r.patience(), picloud.DefaultApp, name, external)
	}
	return t, err
}

func (s *Server) deleteTopic(r *request) error {
	if err := s.cfg.Store.DeleteTopic(r.patience(), r.param("app"), r.param("topic")); err != nil {
		return err
	}
	return r.done()
}
