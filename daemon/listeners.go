package daemon

import (
	"github.com/picloud/picloud"
	"github.com/picloud/picloud/hw"
	"github.com/picloud/picloud/realtime"
	"github.com/picloud/picloud/store"
)

// listeners returns what hears of committed events: the hub and, if outputs follow
// topics, the board.
func (m *machine) listeners() store.Broadcaster {
	if !m.board.Follows() {
		return m.hub
	}
	return hubAndBoard{m.hub, m.board}
}

// hubAndBoard takes committed events to streams and to outputs.
type hubAndBoard struct {
	*realtime.Hub
	board *hw.Board
}

// Broadcast implements store.Broadcaster.
func (l hubAndBoard) Broadcast(events []picloud.Event) {
	l.board.Committed(events)
	l.Hub.Broadcast(events)
}
