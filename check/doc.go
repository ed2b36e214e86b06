// Package check says which values are valid: names, settings, keys, JSON and
// conditions. Whoever takes a value from outside checks it here, and whoever keeps one
// may do so again: rows from a backup pass the same checks as requests.
//
// Functions return nil, or a public error that says what is wrong and what to write
// instead. They look at the value alone; whether it fits what a node holds, such as
// whether a trigger's script exists, is decided in package store.
package check
