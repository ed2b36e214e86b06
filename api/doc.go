// Package api holds the bodies of the HTTP interface: what requests and responses
// carry as JSON. The server, the command line and generators of documents and
// clients share them; docs/protocol.md describes the interface as a whole.
//
// A body is a plain struct; the name of its Go type is the name of its schema in the
// OpenAPI document. Times are in picloud.TimeLayout, null where there is none.
// Conversions from and to the types of package picloud are here when more than one
// package needs them; those of the server alone are beside its handlers.
//
// The package makes no request and answers none, and it does not check what a
// value means.
package api
