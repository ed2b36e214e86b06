// Package auth authenticates callers: API keys of programs, subscriber tokens of
// browsers, and the peer of the Unix socket. The HTTP edge and the script SDK
// call it.
//
// Every refusal is the same picloud.ErrUnauthenticated on the wire; a
// *RefusedError in its chain says why, for the log alone. Across apps a token is
// stopped twice, by two checks of which each suffices: it is verified with the
// keys of the app that is asked for and no other, and its app_id claim must
// equal that app.
//
// The package does not decide what a principal may do (picloud.Can does), does
// not store keys (package store does), and knows nothing of HTTP, cookies or
// sessions.
package auth
