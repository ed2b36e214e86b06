package httpapi

import (
	"bufio"
	"context"
	"log/slog"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/certificate"
)

func (s *Server) showNode(r *request) error {
	n, h, st, usages := s.cfg.Store.Node(), s.cfg.Store.Health(), s.cfg.Store.Stats(), s.cfg.Store.Usages()
	b := api.Node{
		ID: n.ID, Name: n.Name, Version: s.cfg.Version, Commit: s.cfg.Commit, StartedAt: api.At(s.cfg.Started),
		UptimeSec: int64(s.cfg.Now().Sub(s.cfg.Started) / time.Second), Epoch: n.Epoch.String(), Incarnation: n.Incarnation,
		Status: "ok", Notes: append(h.Notes, usageNotes(usages)...), Subscribers: s.cfg.Hub.Stats().Subscribers,
		Storage: api.Storage{
			JournalBytes: st.JournalBytes, Segments: st.Segments, FirstLSN: st.FirstLSN, LastLSN: st.LastLSN,
			Events: st.Events, Commits: st.Commits, Written: st.Written, WrittenDay: st.WrittenDay, WearBudget: st.WearBudget, ReadOnly: h.ReadOnly, NoSpace: h.NoSpace,
		},
	}
	t := s.cfg.Dispatcher.Totals()
	b.Apps = api.Activity{
		Triggers: t.Triggers, Running: t.Running, Waiting: max(t.Waiting, s.cfg.Store.CountAllDeliveries()-t.Running), Paused: t.Paused, Error: t.Error,
		Done: t.Done, Failed: t.Failed, Buried: t.Buried, DeadLetters: s.cfg.Store.CountDeadLetters(), Behind: st.TriggersBehind, Dropped: st.Dropped,
	}
	b.Memory, b.TLS = s.memory(), s.certificate()
	for _, u := range usages {
		b.Apps.DataBytes += u.Data.Bytes
		b.Apps.DataQuota = u.Data.MaxBytes
		b.Apps.LettersDropped += u.LettersDropped
	}
	if h.Degraded {
		b.Status = "degraded"
	}
	if b.Notes == nil {
		b.Notes = []string{}
	}
	return r.reply(fasthttp.StatusOK, b)
}

func (s *Server) certificate() *api.TLS {
	if s.cfg.Certificate == nil {
		return nil
	}
	st := s.cfg.Certificate.Status()
	t := &api.TLS{Names: st.Names, StartsAt: api.At(st.NotBefore), ExpiresAt: api.At(st.NotAfter), Fault: st.Fault}
	t.Expires = len(st.Names) > 0 && certificate.Expires(st, s.cfg.Now())
	if t.Names == nil {
		t.Names = []string{}
	}
	return t
}

func (s *Server) memory() api.Memory {
	m := api.Memory{BudgetBytes: s.cfg.Budget.Bytes()}
	for _, u := range s.cfg.Budget.Usage() {
		m.HeldBytes += u.Held
		m.Refused += u.Refused
		m.Holders = append(m.Holders, api.MemoryHolder{Holder: u.Holder, HeldBytes: u.Held, ShareBytes: u.Share, Refused: u.Refused})
	}
	return m
}

// backup streams the archive. An error in the middle cuts the connection, so
// that a partial archive is not taken for a whole one.
func (s *Server) backup(r *request) error {
	name := "picloud-" + s.cfg.Store.Node().Name + "-" + s.cfg.Now().UTC().Format("20060102T150405Z") + ".tar.gz"
	r.SetContentType("application/gzip")
	r.Response.Header.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	if r.IsHead() {
		return nil
	}
	conn, timeout := r.Conn(), s.cfg.WriteTimeout
	r.SetBodyStreamWriter(func(w *bufio.Writer) {
		left := false // the caller has
		alive := writerFunc(func(p []byte) (int, error) {
			_ = conn.SetWriteDeadline(time.Now().Add(timeout)) // for each part, not for the whole
			n, err := w.Write(p)
			left = left || err != nil
			return n, err
		})
		if err := s.cfg.Store.Backup(context.Background(), alive); err != nil {
			if left {
				s.log.Info("backup was cut off: its caller has left", slog.Any("err", err))
			} else {
				s.log.Error("backup failed", slog.Any("err", err))
			}
			_ = conn.Close()
		}
	})
	return nil
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (s *Server) healthz(r *request) error { return s.probe(r, s.cfg.Alive, "ok\n") }

func (s *Server) readyz(r *request) error { return s.probe(r, s.cfg.Ready, "ready\n") }

// errNotReady answers a probe that fails. What is wrong is public here, for
// the operator.
var errNotReady = &picloud.Error{Code: picloud.CodeUnavailable, Type: "not-ready", Title: "The node is not ready", RetryAfter: time.Second}

func (s *Server) probe(r *request, check func() error, text string) error {
	if check != nil {
		if err := check(); err != nil {
			return errNotReady.Detailf("%v", err)
		}
	}
	r.SetStatusCode(fasthttp.StatusOK)
	r.SetContentType("text/plain; charset=utf-8")
	r.SetBodyString(text)
	return nil
}
