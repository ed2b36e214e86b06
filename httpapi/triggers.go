package httpapi

import (
	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/dispatch"
)

func (s *Server) triggerBody(t *picloud.Trigger) api.Trigger {
	enabled := t.Enabled
	b := api.Trigger{
		Name: t.Name, CreatedAt: api.At(t.CreatedAt), UpdatedAt: api.At(t.UpdatedAt),
		TriggerSpec: api.TriggerSpec{
			Kind: string(t.Kind), Script: t.Script, Export: t.Export, Enabled: &enabled, Topic: t.Topic, Prefix: t.Prefix, Collection: t.Collection,
			Schedule: t.Schedule, TimeZone: t.TimeZone, CatchUp: string(t.CatchUp), Source: t.Source,
			Retry:      &api.Retry{Attempts: t.Retry.Attempts, FirstSec: t.Retry.First.Seconds(), MaxSec: t.Retry.Max.Seconds()},
			TimeoutSec: t.Timeout.Seconds(), Concurrency: t.Concurrency, Ordered: t.Ordered,
		},
	}
	waiting := s.cfg.Store.CountDeliveries(*t)
	if st, ok := s.cfg.Dispatcher.Status(t.ID); ok {
		b.Status = api.TriggerStatus{
			Running: st.Running, Waiting: max(st.Waiting, waiting-st.Running), Done: st.Done, Failed: st.Failed,
			LastDoneAt: api.At(st.LastDone), PausedUntil: api.At(st.Paused), Error: st.Error,
		}
	} else { // what enabling it would set off
		b.Status.Waiting = waiting
	}
	b.Status.BehindRecords, b.Status.GivenUp = s.cfg.Store.Behind(*t), s.cfg.Store.GivenUp(*t)
	return b
}

func (s *Server) listTriggers(r *request) error {
	list, err := s.cfg.Store.Triggers(r.param("app"))
	if err != nil {
		return err
	}
	out := api.Triggers{Triggers: make([]api.Trigger, len(list))}
	for i := range list {
		out.Triggers[i] = s.triggerBody(&list[i])
	}
	return r.reply(fasthttp.StatusOK, out)
}

func (s *Server) showTrigger(r *request) error {
	t, err := s.cfg.Store.Trigger(r.param("app"), r.param("trigger"))
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, s.triggerBody(&t))
}

func (s *Server) saveTrigger(r *request) error {
	var b api.TriggerSpec
	if err := r.decode(&b, false); err != nil {
		return err
	}
	t, err := b.Trigger(r.param("app"), r.param("trigger"))
	if err == nil {
		err = check.Trigger(t)
	}
	if err == nil {
		err = dispatch.CheckSchedule(t)
	}
	if err != nil {
		return err
	}
	if is, err := s.cfg.Store.Trigger(t.App, t.Name); err == nil && b.Enabled == nil {
		t.Enabled = is.Enabled
	}
	if t, err = s.cfg.Store.SaveTrigger(r.patience(), t); err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, s.triggerBody(&t))
}

func (s *Server) deleteTrigger(r *request) error {
	if err := s.cfg.Store.DeleteTrigger(r.patience(), r.param("app"), r.param("trigger")); err != nil {
		return err
	}
	return r.done()
}

func (s *Server) backfillTrigger(r *request) error {
	n, err := s.cfg.Store.Backfill(r.patience(), r.param("app"), r.param("trigger"))
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, api.Counted{Count: n})
}
