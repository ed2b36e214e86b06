package httpapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/auth"
	"github.com/picloud/picloud/check"
)

// checkQuery refuses parameters of the query that the route does not have: one that is
// misspelt would be ignored in silence. What is not below /v1 belongs to others.
func (r *request) checkQuery() error {
	if !strings.HasPrefix(r.route.pattern, "/v1/") {
		return nil
	}
	for k := range r.QueryArgs().All() {
		name := string(k)
		if slices.ContainsFunc(r.route.query, func(q queryParam) bool { return q.name == name }) {
			continue
		}
		known := make([]string, len(r.route.query))
		for i, q := range r.route.query {
			known[i] = q.name
		}
		hint := "; this address has none"
		if best := check.Nearest(name, known); best != "" {
			hint = "; did you mean " + best + "?"
		} else if len(known) > 0 {
			hint = "; this address has " + strings.Join(known, ", ")
		}
		return errQuery.Detailf("a parameter%s is not known here%s", quotable(name), hint)
	}
	return nil
}

// quotable returns a name to be repeated in a message, in front of it a space; empty when
// it may be something else, such as a credential.
func quotable(name string) string {
	if len(name) > 32 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" || auth.HoldsAPIKey(name) {
		return ""
	}
	return " " + strconv.Quote(name)
}

// query returns a parameter of the query.
func (r *request) query(name string) string { return string(r.QueryArgs().Peek(name)) }

// limit returns how many things a page may have.
func (r *request) limit(otherwise int) (int, error) {
	text := r.query("limit")
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > picloud.MaxPage {
		return 0, errQuery.Detailf("limit: use 1 to %d", picloud.MaxPage)
	}
	return n, nil
}

// next returns the address of the page after this one; nil: there is none.
func (r *request) next(after string) *string {
	if after == "" {
		return nil
	}
	q := url.Values{"after": {after}}
	for _, param := range r.route.query {
		for _, v := range r.QueryArgs().PeekMulti(param.name) {
			if param.name != "after" {
				q.Add(param.name, string(v))
			}
		}
	}
	next := pathOf(r.RequestCtx) + "?" + q.Encode()
	return &next
}
