package httpapi

import (
	"math"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
)

func topicBody(t picloud.Topic) Topic {
	return Topic{
		App: t.App, Name: t.Name, Description: t.Description, External: t.External,
		AuthMode: string(t.AuthMode), Durability: string(t.Durability),
		Retention: Retention{MaxEvents: t.Retention.MaxEvents, MaxAgeSec: int64(t.Retention.MaxAge / time.Second), MaxBytes: t.Retention.MaxBytes},
		CreatedAt: Time{t.CreatedAt}, UpdatedAt: Time{t.UpdatedAt},
	}
}

func (b *Retention) retention() (picloud.Retention, error) {
	if b == nil {
		return picloud.Retention{}, nil
	}
	if b.MaxAgeSec > int64(math.MaxInt64/time.Second) || b.MaxAgeSec < 0 {
		return picloud.Retention{}, picloud.ErrTopicInvalid.Detailf("retention.max_age_sec: use 0 to %d", int64(math.MaxInt64/time.Second))
	}
	return picloud.Retention{MaxEvents: b.MaxEvents, MaxAge: time.Duration(b.MaxAgeSec) * time.Second, MaxBytes: b.MaxBytes}, nil
}

func (s *Server) listTopics(r *request) error {
	topics, err := s.cfg.Store.Topics(r.param("app"))
	if err != nil {
		return err
	}
	list := Topics{Topics: make([]Topic, len(topics))}
	for i, t := range topics {
		list.Topics[i] = topicBody(t)
	}
	return r.reply(fasthttp.StatusOK, list)
}

func (s *Server) createTopic(r *request) error {
	var b NewTopic
	if err := r.decode(&b, false); err != nil {
		return err
	}
	retention, err := b.Retention.retention()
	if err != nil {
		return err
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
	var b TopicPatch
	if err := r.decode(&b, false); err != nil {
		return err
	}
	if b.External != nil {
		return picloud.ErrExternalField
	}
	p := picloud.TopicPatch{Description: b.Description, AuthMode: (*picloud.AuthMode)(b.AuthMode), Durability: (*picloud.Durability)(b.Durability)}
	if b.Retention != nil {
		retention, err := b.Retention.retention()
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
	var b ExternalPatch
	if err := r.decode(&b, false); err != nil {
		return err
	}
	if b.External == nil {
		return errBody.Detailf("send {\"external\": true} or {\"external\": false}")
	}
	t, err := s.cfg.Store.SetExternal(r.patience(), r.param("app"), r.param("topic"), *b.External)
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, topicBody(t))
}

func (s *Server) deleteTopic(r *request) error {
	if err := s.cfg.Store.DeleteTopic(r.patience(), r.param("app"), r.param("topic")); err != nil {
		return err
	}
	return r.done()
}
