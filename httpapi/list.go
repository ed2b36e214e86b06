package httpapi

import (
	"net/url"
	"strconv"

	"github.com/picloud/picloud"
)

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
	q := url.Values{}
	for k, v := range r.QueryArgs().All() {
		q.Add(string(k), string(v))
	}
	q.Set("after", after)
	next := pathOf(r.RequestCtx) + "?" + q.Encode()
	return &next
}
