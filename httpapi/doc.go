// Package httpapi is the HTTP edge: routes, limits, problem documents, CORS, the
// OpenAPI document, and the door to live streams.
//
// It turns requests into calls of the roles below and their errors into status
// codes; nothing else in the process knows what a status code is. One table of
// routes feeds the router, the answers to wrong methods and the OpenAPI
// document. The caller is authenticated once per request, before a handler runs.
//
// The package keeps no state of its own and makes no decision that lasts: what
// may be done follows from picloud.Can and the store, and a stream that has been
// let in belongs to package realtime.
package httpapi
