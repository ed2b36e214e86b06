package publish

import (
	"context"
	"fmt"

	"github.com/picloud/picloud"
)

// Committer makes publications durable; *store.Store implements it.
type Committer interface {
	Publish(ctx context.Context, p picloud.Publication) ([]picloud.Event, error)
	App(name string) (picloud.App, error)
}

// Config configures a Service.
type Config struct {
	Committer Committer
	MaxData   int // bytes of one event's data as it was sent; 0: picloud.DefaultMaxData; at most picloud.LimitMaxData
}

// Service checks publications and hands them to the committer. Its methods may
// be called concurrently.
type Service struct {
	cfg Config
}

// New returns a Service that publishes through cfg.Committer.
func New(cfg Config) *Service {
	if cfg.MaxData <= 0 {
		cfg.MaxData = picloud.DefaultMaxData
	}
	cfg.MaxData = min(cfg.MaxData, picloud.LimitMaxData)
	return &Service{cfg: cfg}
}

// Publish implements picloud.Publisher. Nothing reaches the committer unless
// the publication is sound as a whole; every fault is a picloud.Error that says
// what to do, and in a batch which event it is about.
//
// The data are copied and compacted: the caller may use the drafts' slices
// again after Publish has returned. Strings are kept as they are.
func (s *Service) Publish(ctx context.Context, p picloud.Publication) ([]picloud.Event, error) {
	if err := s.authorize(p); err != nil {
		return nil, err
	}
	drafts := make([]picloud.Draft, len(p.Drafts))
	if err := s.check(p, drafts); err != nil {
		return nil, err
	}
	p.Drafts = drafts
	events, err := s.cfg.Committer.Publish(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("publish to %s: %w", p.App, err)
	}
	return events, nil
}

// Check returns the error that Publish would return before anything is
// committed, or nil. Those who publish one thing in several publications use it
// to learn of a fault before the first.
func (s *Service) Check(p picloud.Publication) error {
	if err := s.authorize(p); err != nil {
		return err
	}
	return s.check(p, nil)
}

// authorize answers whether p.By may publish in p.App at all. A caller that may
// not see an app learns nothing about it.
func (s *Service) authorize(p picloud.Publication) error {
	switch {
	case p.By.Kind == picloud.KindAnonymous:
		return picloud.ErrUnauthenticated
	case !picloud.CanSee(p.By, p.App):
		return picloud.ErrAppNotFound
	case !picloud.Can(p.By, picloud.AppPublish, p.App):
		return picloud.ErrForbidden.Detailf("publishing needs the scope %s", picloud.ScopeOf(picloud.AppPublish))
	}
	_, err := s.cfg.Committer.App(p.App)
	return err
}

var _ picloud.Publisher = (*Service)(nil)
