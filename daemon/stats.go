package daemon

import "github.com/picloud/picloud/stats"

// counts reads the figures of the parts.
func (m *machine) counts() stats.Counts {
	st, hub, runs := m.store.Stats(), m.hub.Stats(), m.owed.Totals()
	c := stats.Counts{
		Events: st.Events, Commits: st.Commits, Deliveries: hub.Deliveries, Missed: hub.Dropped, Subscribers: hub.Subscribers, Limit: hub.Limit,
		Running: runs.Running, Waiting: max(runs.Waiting, m.store.CountAllDeliveries()-runs.Running), Done: runs.Done, Failed: runs.Failed, GivenUp: runs.Buried,
		JournalBytes: st.JournalBytes, WrittenBytes: st.Written, WrittenLastDay: st.WrittenDay,
	}
	if l := m.hub.EdgeLatency(); l.Edges > 0 {
		c.Edges, c.EdgeFrameP50, c.EdgeFrameP99 = l.Edges, new(l.P50.Seconds()*1000), new(l.P99.Seconds()*1000)
	}
	if m.central != nil {
		waiting := m.central.Status().Waiting
		c.SyncWaiting = &waiting
	}
	return c
}
