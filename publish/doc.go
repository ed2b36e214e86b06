// Package publish is the one door in: every event, from any source, passes
// Service.Publish. It checks the caller's rights and the publication, and hands on
// to the store only what is sound as a whole.
//
// The HTTP edge, the spool, devices and scripts call it. It does not store,
// order or broadcast anything (package store does) and knows nothing of HTTP.
package publish
