// Package spool publishes files that are dropped into a folder: a JSON file is
// one event, an NDJSON file one event a line. Scripts, cron jobs and machines
// that can do nothing but copy a file use it.
//
//	<dir>/<app>/<topic>/name.json            taken when complete
//	<dir>/<app>/<topic>/archive/name.json    published
//	<dir>/<app>/<topic>/rejected/name.json   not published; name.json.reason says why
//
// A '/' in a topic is a nested folder, so no part of a topic used here can be
// called archive or rejected, or begin with a dot.
//
// A file is complete at once when it was renamed into its folder, and otherwise
// when its size and time have been still for a moment. Complete files of a
// folder are taken in the order of their names. A file is checked as a whole
// before its first event is published, and each part is published under an
// idempotency key that follows from the file: a crash between publishing and
// archiving doubles nothing, as long as the node is back within the 24 hours
// for which keys are remembered.
//
// Whatever is not a regular file is never opened or followed. The package does
// not decide what may be published (package publish does), and does not watch
// configuration or scripts.
package spool
