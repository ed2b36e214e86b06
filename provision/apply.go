package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/check"
)

// Store keeps what apps consist of; *store.Store implements it.
type Store interface {
	App(name string) (picloud.App, error)
	CreateApp(ctx context.Context, a picloud.App) (picloud.App, error)
	UpdateApp(ctx context.Context, name string, p picloud.AppPatch) (picloud.App, error)
	Topics
	Collections
	Scripts
	Triggers
	Endpoints
}

// Topics keeps topics.
type Topics interface {
	Topics(app string) ([]picloud.Topic, error)
	CreateTopic(ctx context.Context, t picloud.Topic) (picloud.Topic, error)
	UpdateTopic(ctx context.Context, app, name string, p picloud.TopicPatch) (picloud.Topic, error)
	SetExternal(ctx context.Context, app, name string, external bool) (picloud.Topic, error)
}

// Collections keeps collections.
type Collections interface {
	Collections(app string) ([]picloud.Collection, error)
	SaveCollection(ctx context.Context, c picloud.Collection) (picloud.Collection, error)
}

// Scripts keeps scripts.
type Scripts interface {
	Scripts(app string) ([]picloud.Script, error)
	SaveScript(ctx context.Context, sc picloud.Script, cond picloud.Precondition) (picloud.Script, error)
	DeleteScript(ctx context.Context, app, name string, cond picloud.Precondition) error
}

// Triggers keeps triggers.
type Triggers interface {
	Triggers(app string) ([]picloud.Trigger, error)
	SaveTrigger(ctx context.Context, t picloud.Trigger) (picloud.Trigger, error)
	DeleteTrigger(ctx context.Context, app, name string) error
}

// Endpoints keeps endpoints.
type Endpoints interface {
	Endpoints(app string) ([]picloud.Endpoint, error)
	SaveEndpoint(ctx context.Context, e picloud.Endpoint) (picloud.Endpoint, error)
	DeleteEndpoint(ctx context.Context, app, name string) error
}

// Checks are what else can be said of an app before it is changed.
type Checks struct {
	Script   func(ctx context.Context, app, name, source string) error // whether a source can be read
	Schedule func(t picloud.Trigger) error
}

// Step is one change that Apply makes.
type Step struct {
	api.Step

	do func(ctx context.Context) error
}

// Plan returns what it takes to make an app what the spec says, in the order in
// which it has to be done. All faults of the spec are found before.
func Plan(ctx context.Context, st Store, checks Checks, s api.Spec) ([]Step, error) {
	p := &planner{ctx: ctx, st: st, spec: &s}
	_, err := st.App(s.Name)
	p.fresh = errors.Is(err, picloud.ErrAppNotFound)
	if err != nil && !p.fresh {
		return nil, err
	}
	var faults []error
	for _, plan := range []func() error{p.app, p.topics, p.collections, func() error { return p.scripts(checks) }, func() error { return p.triggers(checks) }, p.endpoints, p.prune} {
		faults = append(faults, plan())
	}
	return p.steps, errors.Join(faults...)
}

// Apply does the steps, and returns those that were done. An error names the one
// that failed; doing it all again goes on there.
func Apply(ctx context.Context, steps []Step) ([]Step, error) {
	for i, s := range steps {
		if err := s.do(ctx); err != nil {
			return steps[:i], fmt.Errorf("%s %s %s: %w", s.Action, s.Kind, s.Name, err)
		}
	}
	return steps, nil
}

// planner collects steps.
type planner struct {
	ctx   context.Context //nolint:containedctx // lives as long as the call of Plan
	st    Store
	spec  *api.Spec
	fresh bool // there is no such app yet
	steps []Step
}

func (p *planner) step(a api.Action, kind, name, detail string, do func(ctx context.Context) error) {
	p.steps = append(p.steps, Step{Step: api.Step{Action: a, Kind: kind, Name: name, Detail: detail}, do: do})
}

func (p *planner) app() error {
	want := picloud.App{Name: p.spec.Name, Description: p.spec.Description, AllowedOrigins: p.spec.AllowedOrigins}
	if err := check.App(want); err != nil {
		return err
	}
	if p.fresh {
		p.step(api.ActionCreate, "app", want.Name, "", func(ctx context.Context) error {
			_, err := p.st.CreateApp(ctx, want)
			return err
		})
		return nil
	}
	is, err := p.st.App(want.Name)
	if err != nil {
		return err
	}
	if want.AllowedOrigins == nil {
		want.AllowedOrigins = is.AllowedOrigins
	}
	is.AllowedOrigins, want.AllowedOrigins = notNil(is.AllowedOrigins), notNil(want.AllowedOrigins)
	want.CreatedAt, want.UpdatedAt = is.CreatedAt, is.UpdatedAt
	if detail := difference(is, want); detail != "" {
		p.step(api.ActionChange, "app", want.Name, detail, func(ctx context.Context) error {
			_, err := p.st.UpdateApp(ctx, want.Name, picloud.AppPatch{Description: &want.Description, AllowedOrigins: &want.AllowedOrigins})
			return err
		})
	}
	return nil
}

func notNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// things plans what there is to do for the things of one kind: those that are not
// as they should be are made so.
func things[T any, S any](p *planner, kind string, specs map[string]S, list func(app string) ([]T, error), name func(*T) string, want func(name string, s S, is *T) (T, error), save func(ctx context.Context, want T, is *T) error) error {
	there := map[string]*T{}
	if !p.fresh {
		all, err := list(p.spec.Name)
		if err != nil {
			return err
		}
		for i := range all {
			there[name(&all[i])] = &all[i]
		}
	}
	var faults []error
	for _, n := range slices.Sorted(maps.Keys(specs)) {
		is := there[n]
		w, err := want(n, specs[n], is)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s %s: %w", kind, n, err))
			continue
		}
		do := func(ctx context.Context) error { return save(ctx, w, is) }
		if is == nil {
			p.step(api.ActionCreate, kind, n, "", do)
		} else if detail := difference(*is, w); detail != "" {
			p.step(api.ActionChange, kind, n, detail, do)
		}
	}
	return errors.Join(faults...)
}

func (p *planner) topics() error {
	return things(p, "topic", p.spec.Topics, p.st.Topics, func(t *picloud.Topic) string { return t.Name },
		func(name string, s api.TopicSpec, is *picloud.Topic) (picloud.Topic, error) {
			t := picloud.Topic{App: p.spec.Name, Name: name}
			if is != nil {
				t = *is
			}
			t, err := s.Apply(t)
			if err == nil {
				err = check.Topic(t)
			}
			return t, err
		},
		func(ctx context.Context, t picloud.Topic, is *picloud.Topic) error {
			if is == nil {
				_, err := p.st.CreateTopic(ctx, t)
				return err
			}
			_, err := p.st.UpdateTopic(ctx, t.App, t.Name, picloud.TopicPatch{Description: &t.Description, AuthMode: &t.AuthMode, Durability: &t.Durability, Retention: &t.Retention})
			if err == nil && is.External != t.External {
				_, err = p.st.SetExternal(ctx, t.App, t.Name, t.External)
			}
			return err
		})
}

func (p *planner) collections() error {
	return things(p, "collection", p.spec.Collections, p.st.Collections, func(c *picloud.Collection) string { return c.Name },
		func(name string, s api.CollectionSpec, is *picloud.Collection) (picloud.Collection, error) {
			c := picloud.Collection{App: p.spec.Name, Name: name, Indexes: notNil(slices.Clone(s.Indexes))}
			slices.Sort(c.Indexes)
			c.Indexes = slices.Compact(c.Indexes)
			if is != nil {
				c.CreatedAt, c.UpdatedAt = is.CreatedAt, is.UpdatedAt
			}
			for _, f := range c.Indexes {
				if err := check.Field(f); err != nil {
					return c, err
				}
			}
			return c, check.Handle("collection", name)
		},
		func(ctx context.Context, c picloud.Collection, _ *picloud.Collection) error {
			_, err := p.st.SaveCollection(ctx, c)
			return err
		})
}

func (p *planner) scripts(checks Checks) error {
	return things(p, "script", p.spec.Scripts, p.st.Scripts, func(s *picloud.Script) string { return s.Name },
		func(name, source string, is *picloud.Script) (picloud.Script, error) {
			s := picloud.Script{App: p.spec.Name, Name: name, Source: source}
			if is != nil {
				s.Version, s.UpdatedAt = is.Version, is.UpdatedAt
			}
			err := check.Script(name, source)
			if err == nil && (is == nil || is.Source != source) && checks.Script != nil {
				err = checks.Script(p.ctx, p.spec.Name, name, source)
			}
			return s, err
		},
		func(ctx context.Context, s picloud.Script, _ *picloud.Script) error {
			_, err := p.st.SaveScript(ctx, s, picloud.Precondition{})
			return err
		})
}

func (p *planner) triggers(checks Checks) error {
	return things(p, "trigger", p.spec.Triggers, p.st.Triggers, func(t *picloud.Trigger) string { return t.Name },
		func(name string, s api.TriggerSpec, is *picloud.Trigger) (picloud.Trigger, error) {
			t, err := s.Trigger(p.spec.Name, name)
			if is != nil {
				t.ID, t.CreatedAt, t.UpdatedAt = is.ID, is.CreatedAt, is.UpdatedAt
				if s.Enabled == nil {
					t.Enabled = is.Enabled
				}
			}
			if err == nil {
				err = check.Trigger(t)
			}
			if err == nil && checks.Schedule != nil {
				err = checks.Schedule(t)
			}
			if err == nil {
				err = p.hasScript(t.Script)
			}
			return t, err
		},
		func(ctx context.Context, t picloud.Trigger, _ *picloud.Trigger) error {
			_, err := p.st.SaveTrigger(ctx, t)
			return err
		})
}

func (p *planner) endpoints() error {
	return things(p, "endpoint", p.spec.Endpoints, p.st.Endpoints, func(e *picloud.Endpoint) string { return e.Name },
		func(name string, s api.EndpointSpec, is *picloud.Endpoint) (picloud.Endpoint, error) {
			e, err := s.Endpoint(p.spec.Name, name)
			if is != nil {
				e.ID, e.CreatedAt, e.UpdatedAt = is.ID, is.CreatedAt, is.UpdatedAt
			}
			if err == nil {
				err = check.Endpoint(e)
			}
			if err == nil {
				err = p.hasScript(e.Script)
			}
			return e, err
		},
		func(ctx context.Context, e picloud.Endpoint, _ *picloud.Endpoint) error {
			_, err := p.st.SaveEndpoint(ctx, e)
			return err
		})
}

// hasScript returns a fault when a script is neither in the spec nor there.
func (p *planner) hasScript(name string) error {
	if _, ok := p.spec.Scripts[name]; ok {
		return nil
	}
	if !p.fresh && !p.spec.Prune {
		all, err := p.st.Scripts(p.spec.Name)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(all, func(s picloud.Script) bool { return s.Name == name }) {
			return nil
		}
	}
	return picloud.ErrScriptNotFound.Detailf("%q is neither in the directory nor on the node", name)
}

// prune plans the end of what the spec does not have, if it wants that.
func (p *planner) prune() error {
	if !p.spec.Prune || p.fresh {
		return nil
	}
	app := p.spec.Name
	endpoints, err := p.st.Endpoints(app)
	if err != nil {
		return err
	}
	triggers, err := p.st.Triggers(app)
	if err != nil {
		return err
	}
	scripts, err := p.st.Scripts(app)
	if err != nil {
		return err
	}
	for _, e := range endpoints {
		if _, ok := p.spec.Endpoints[e.Name]; !ok {
			p.step(api.ActionDelete, "endpoint", e.Name, "", func(ctx context.Context) error { return p.st.DeleteEndpoint(ctx, app, e.Name) })
		}
	}
	for _, t := range triggers {
		if _, ok := p.spec.Triggers[t.Name]; !ok {
			p.step(api.ActionDelete, "trigger", t.Name, "with what it still owes", func(ctx context.Context) error { return p.st.DeleteTrigger(ctx, app, t.Name) })
		}
	}
	for _, s := range scripts {
		if _, ok := p.spec.Scripts[s.Name]; !ok {
			p.step(api.ActionDelete, "script", s.Name, "", func(ctx context.Context) error {
				return p.st.DeleteScript(ctx, app, s.Name, picloud.Precondition{})
			})
		}
	}
	return nil
}

// difference says which fields of two values differ; empty: none.
func difference(is, want any) string {
	a, b := fields(is), fields(want)
	var out []string
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if string(a[k]) == string(b[k]) {
			continue
		}
		if k == "source" {
			out = append(out, lines(a[k], b[k]))
			continue
		}
		out = append(out, fmt.Sprintf("%s: %s → %s", strings.ToLower(k), a[k], b[k]))
	}
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if _, there := b[k]; !there {
			out = append(out, fmt.Sprintf("%s: %s → none", strings.ToLower(k), a[k]))
		}
	}
	return strings.Join(out, ", ")
}

// lines says how many lines of a source came and went.
func lines(is, want json.RawMessage) string {
	count := map[string]int{}
	var a, b string
	_ = json.Unmarshal(is, &a)   // strings that were encoded above
	_ = json.Unmarshal(want, &b) // as above
	for l := range strings.Lines(a) {
		count[l]--
	}
	for l := range strings.Lines(b) {
		count[l]++
	}
	added, removed := 0, 0
	for _, n := range count {
		added += max(n, 0)
		removed += max(-n, 0)
	}
	return fmt.Sprintf("%d lines added, %d removed", added, removed)
}

// fields is a value as the fields of a JSON object.
func fields(v any) map[string]json.RawMessage {
	var out map[string]json.RawMessage
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		panic(fmt.Sprintf("describe %T: %v", v, err)) // none of them can fail
	}
	return out
}
