package httpapi

import (
	"bytes"
	"fmt"

	"github.com/VictoriaMetrics/metrics"
)

// requestMetrics count requests by the class of their status.
type requestMetrics struct {
	classes [6]*metrics.Counter
}

func (m *requestMetrics) register(set *metrics.Set) {
	for i := 1; i < len(m.classes); i++ {
		m.classes[i] = set.GetOrCreateCounter(fmt.Sprintf(`picloud_http_requests_total{status="%dxx"}`, i))
	}
}

func (m *requestMetrics) count(status int) {
	if c := status / 100; c > 0 && c < len(m.classes) {
		m.classes[c].Inc()
	}
}

func (s *Server) showMetrics(r *request) error {
	r.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	var text bytes.Buffer
	s.cfg.Metrics.WritePrometheus(&text)
	metrics.WriteProcessMetrics(&text)
	r.Response.SetBodyRaw(text.Bytes())
	return nil
}
