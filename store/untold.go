package store

import (
	"slices"
	"strings"
)

// A start tells of damage with incidents, which it can write only once it knows all that is
// there. What it has changed by then the next start would not find any more, were this one
// cut off. So before it changes a file for the damage in it node.json has what was found,
// until that is incidents.

// untold is what a start has found.
type untold struct {
	Lost  []string `json:"lost,omitempty"`  // as found.Lost
	Found []string `json:"found,omitempty"` // texts of other incidents
}

// maxUntold bounds the bytes of all texts. The log has them all, and damaged/ the files.
const maxUntold = 16 << 10

const moreUntold = "More was found to be damaged than is listed: see the log, and the folder damaged."

// lose notes a loss, once.
func (f *found) lose(text string) {
	if !slices.Contains(f.Lost, text) {
		f.Lost = append(f.Lost, text)
	}
}

// takeUntold takes in what a start that was cut off has found.
func (s *Store) takeUntold(r *recovery) {
	if s.ident.Untold == nil {
		return
	}
	for _, text := range s.ident.Untold.Lost {
		r.lose(text)
	}
	for _, text := range s.ident.Untold.Found {
		s.incident(text)
	}
}

// found reports whether an incident that is not durable yet has a text in it.
func (s *Store) found(text string) bool {
	return slices.ContainsFunc(s.incidents.waiting(), func(in Incident) bool { return strings.Contains(in.Text, text) })
}

// keepFound makes durable in node.json what was found so far.
func (s *Store) keepFound(r *recovery) error {
	if s.readOnly {
		return nil
	}
	u, size := &untold{}, 0
	add := func(list []string, text string) []string {
		if size += len(text); size <= maxUntold {
			return append(list, text)
		}
		return list
	}
	for _, text := range r.Lost {
		u.Lost = add(u.Lost, text)
	}
	for _, in := range s.incidents.waiting() {
		if !in.Rows { // else it is in r.Lost, or found again
			u.Found = add(u.Found, in.Text)
		}
	}
	if size > maxUntold {
		u.Lost = append(u.Lost, moreUntold)
	}
	if size == 0 {
		u = nil
	}
	s.ident.New = s.ident.New || !r.known && size > 0
	s.ident.Untold = u
	return s.ident.write(s.cfg.Dir)
}

// forgetFound takes what was found out of node.json once it is incidents, which are durable.
func (s *Store) forgetFound(r *recovery) error {
	accounted := max(s.ident.LostLSN, uint64(r.LostLSN))
	if len(r.Lost) == 0 {
		accounted = s.ident.LostLSN
	}
	if s.ident.Untold == nil && !s.ident.New && accounted == s.ident.LostLSN {
		return nil
	}
	s.ident.Untold, s.ident.New, s.ident.LostLSN = nil, false, accounted
	return s.ident.write(s.cfg.Dir)
}
