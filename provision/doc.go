// Package provision makes an app what a directory says it is: app.toml, and the
// scripts beside it. Doing it again changes nothing; doing it dry says what it
// would change.
//
//	app.toml        name, topics, collections, triggers, endpoints
//	*.js, *.mjs     scripts, called what the file is called
//	scripts/*.js    the same
//
// What the directory does not mention stays, unless it says prune = true: then
// triggers, endpoints and scripts that it does not have go. Topics, collections and
// data are never deleted.
//
// A Watcher does so for all directories of one folder whenever they change. The package
// speaks no protocol: a client reads its directory and sends the api.Spec.
package provision
