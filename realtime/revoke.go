package realtime

import (
	"slices"

	"github.com/picloud/picloud"
)

// Revoke ends the streams whose right has ended: at once, or at r.At when that
// is later than now.
func (h *Hub) Revoke(r picloud.Revocation) {
	for _, s := range h.shards {
		s.post(message{kind: msgRevoke, revocation: r})
	}
}

func (s *shard) revoke(r *picloud.Revocation) {
	reason := reasonTopic
	if r.SigningKey != "" || r.APIKey != "" {
		reason = reasonRevoked
	}
	frame := appendControl(nil, "expired", ending{Reason: reason, Topic: r.Topic})
	for _, sub := range slices.Backward(s.subscribers) { // ending one moves the last, which was seen, into its place
		if !matches(r, &sub.sub) {
			continue
		}
		if r.At.After(s.now) {
			if at := r.At.Unix(); sub.expires == 0 || at < sub.expires {
				s.endAt(sub, at)
			}
			continue
		}
		s.end(sub, frame)
	}
}

func matches(r *picloud.Revocation, sub *Subscription) bool {
	return (r.App == "" || r.App == sub.App) &&
		(r.Topic == "" || slices.Contains(sub.Topics, r.Topic)) &&
		(!r.OutsideOnly || sub.Grant.Outside) &&
		(r.SigningKey == "" || r.SigningKey == sub.Grant.SigningKey) &&
		(r.APIKey == "" || r.APIKey == sub.Grant.APIKey)
}
