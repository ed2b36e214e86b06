package httpapi

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/budget"
)

const (
	defaultUploads = 32
	defaultRate    = 1 << 10  // bytes per second
	uploadMemory   = 32 << 10 // buffers of an upload
)

// uploads bounds the files that arrive at the same time, in total and of one app. Its
// methods may be called concurrently.
type uploads struct {
	total, perApp int

	refusedApp, refusedTotal *metrics.Counter

	mu   sync.Mutex // guards what follows
	open int
	apps map[string]int // none is 0
}

func newUploads(cfg *Config) *uploads {
	return &uploads{
		total: cfg.MaxUploads, perApp: cfg.MaxUploadsPerApp, apps: map[string]int{},
		refusedApp:   cfg.Metrics.GetOrCreateCounter(`picloud_http_uploads_refused_total{limit="app"}`),
		refusedTotal: cfg.Metrics.GetOrCreateCounter(`picloud_http_uploads_refused_total{limit="total"}`),
	}
}

var errAppUploads = &picloud.Error{
	Code: picloud.CodeTooMany, Type: "app-uploads-full", Title: "As many files of this app arrive as may at the same time", RetryAfter: 2 * time.Second,
}

// take counts an upload of an app, which give ends, or says why there is no room.
func (u *uploads) take(app string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.apps[app] >= u.perApp:
		u.refusedApp.Inc()
		return errAppUploads.Detailf("%d files of this app arrive at this moment. Repeat the request after the time in Retry-After.", u.apps[app])
	case u.open >= u.total:
		u.refusedTotal.Inc()
		return picloud.ErrBusy.Detailf("%d files arrive at this moment. Repeat the request after the time in Retry-After.", u.open)
	}
	u.open++
	u.apps[app]++
	return nil
}

func (u *uploads) give(app string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open--
	if u.apps[app]--; u.apps[app] == 0 {
		delete(u.apps, app)
	}
}

// upload returns the body of a request that is a file, which may take its time as
// long as it keeps up a rate. The caller calls done.
func (r *request) upload() (in io.Reader, done func(), err error) {
	app := r.param("app")
	if err := r.begin(); err != nil {
		return nil, nil, err
	}
	if err := r.s.uploads.take(app); err != nil {
		return nil, nil, err
	}
	memory := r.lease(budget.Uploads)
	if err := memory.Resize(uploadMemory); err != nil {
		r.s.uploads.give(app)
		return nil, nil, err
	}
	u := &upload{r: r, in: r.RequestBodyStream(), left: int64(r.Request.Header.ContentLength())}
	return u, func() {
		memory.Release()
		r.s.uploads.give(app)
	}, nil
}

// upload reads a body. One that ends early is not taken for whole, and one that
// brings too few bytes in a window of the read timeout is not waited for. Time in
// which the node itself is slow does not count.
type upload struct {
	r    *request
	in   io.Reader // nil: there is no body
	left int64     // negative: not known

	waited time.Duration // in this window
	moved  int64         // bytes in this window
}

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	if u.in == nil || u.left == 0 {
		return 0, io.EOF
	}
	window, began := u.r.s.cfg.ReadTimeout, time.Now()
	if err := u.r.SetReadDeadline(began.Add(window - u.waited)); err != nil {
		return 0, bodyFault(err)
	}
	n, err := u.in.Read(p)
	u.waited += time.Since(began)
	if u.moved += int64(n); float64(u.moved) >= float64(u.r.s.cfg.MinUploadRate)*window.Seconds() {
		u.waited, u.moved = 0, 0
	}
	if u.left > 0 {
		u.left -= int64(n)
		if errors.Is(err, io.EOF) && u.left > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = bodyFault(err)
	}
	return n, err
}
