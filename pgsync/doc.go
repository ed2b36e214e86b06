// Package pgsync copies a node to PostgreSQL, and back.
//
// A Sync is a consumer of the journal: package dispatch hands it records in
// order, and it writes them, each batch in one transaction that also moves the
// node's position. So every record is there exactly once, however often either
// side dies: after a reconnect the position says what is missing.
//
// Who may write for a node is settled when a connection begins (claim.go): one
// session holds the node, and every transaction checks that it still does. An
// older incarnation, a cloned card and a card that was set back are told apart
// and refused.
//
// The package decides neither when to try again nor how long to wait (dispatch
// does), and keeps nothing on the node but a list of its own sessions.
package pgsync
