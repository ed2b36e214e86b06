package httpapi

import (
	"errors"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/provision"
	"github.com/picloud/picloud/script"
)

// applySpec makes an app what the body says.
func (s *Server) applySpec(r *request) error {
	var spec api.Spec
	if err := r.decode(&spec, false); err != nil {
		return err
	}
	out := api.Applied{App: spec.Name, DryRun: r.query("dry_run") == "true", Steps: []api.Step{}}
	steps, err := provision.Plan(r.patience(), s.cfg.Store, s.checks(), spec)
	if err == nil && !out.DryRun {
		steps, err = provision.Apply(r.patience(), steps)
	}
	if err != nil {
		return specFault(err)
	}
	for i := range steps {
		out.Steps = append(out.Steps, steps[i].Step)
	}
	return r.reply(fasthttp.StatusOK, out)
}

// specFault words the faults of a spec as one problem: all of them, each with what
// it is about.
func specFault(err error) error {
	e := picloud.AsError(err)
	if e == nil || errors.Is(err, picloud.ErrAppNotFound) {
		if fault, ok := errors.AsType[*script.Error](err); ok {
			if fault.Unavailable() {
				return scriptFault(err)
			}
			return errSpec.Detailf("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		return err
	}
	if e.Code == picloud.CodeUnprocessable || e.Code == picloud.CodeNotFound || e.Code == picloud.CodeConflict {
		return errSpec.Detailf("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return err
}

var errSpec = &picloud.Error{Code: picloud.CodeUnprocessable, Type: "app-spec-invalid", Title: "The app cannot be made like this"}

func (s *Server) checks() provision.Checks {
	return provision.Checks{Schedule: dispatch.CheckSchedule, Script: s.cfg.Scripts.Check}
}
