package picloud

import "time"

// Node is one running PiCloud: one board, one data directory, one identity.
type Node struct {
	ID          string // 26 characters, made once for a data directory
	Name        string // for people; the host name unless configured
	Epoch       Epoch
	Incarnation uint64 // how often this identity was restored or re-founded
	CreatedAt   time.Time
}
