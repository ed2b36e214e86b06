package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
)

// Things that have a version are read and changed by conditional requests (RFC
// 9110, section 13): the version is the entity tag.

// tagOf is the entity tag (RFC 9110) of a version.
func tagOf(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }

// precondition reads If-Match and If-None-Match.
func (r *request) precondition() (picloud.Precondition, error) {
	var p picloud.Precondition
	match, none := string(r.Request.Header.Peek("If-Match")), string(r.Request.Header.Peek("If-None-Match"))
	switch match {
	case "":
	case "*":
		p.Present = true
	default:
		v, err := strconv.ParseUint(strings.Trim(match, `"`), 10, 64)
		if err != nil || v == 0 || match != tagOf(v) {
			return p, picloud.ErrPrecondition.Detailf("If-Match: send the ETag of what was read, or *")
		}
		p.Version = v
	}
	switch none {
	case "":
	case "*":
		p.Absent = true
	default:
		return p, picloud.ErrPrecondition.Detailf("If-None-Match: only * can be asked for when something is changed")
	}
	return p, nil
}

// fresh sets the entity tag of what is answered, and reports whether the caller
// has it already: then nothing else needs to be sent.
func (r *request) fresh(version uint64) bool {
	tag := tagOf(version)
	r.Response.Header.Set("ETag", tag)
	r.Response.Header.Set("Cache-Control", "no-cache")
	if !matches(string(r.Request.Header.Peek("If-None-Match")), tag) {
		return false
	}
	r.SetStatusCode(fasthttp.StatusNotModified)
	return true
}

// unmodified reports whether the caller has what was last changed at a time, by
// If-Modified-Since, which counts where no tag is sent.
func (r *request) unmodified(changed time.Time) bool {
	h := &r.Request.Header
	since, err := http.ParseTime(string(h.Peek("If-Modified-Since")))
	if err != nil || len(h.Peek("If-None-Match")) > 0 || changed.Truncate(time.Second).After(since) {
		return false
	}
	r.SetStatusCode(fasthttp.StatusNotModified)
	return true
}

func matches(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == tag || one == "*" {
			return true
		}
	}
	return false
}

// replyChanged answers with what a thing is after a change.
func (r *request) replyChanged(version uint64, v any) error {
	r.Response.Header.Set("ETag", tagOf(version))
	return r.reply(fasthttp.StatusOK, v)
}
