// Package check says which values are valid: names, settings, keys, JSON and
// conditions. The packages that take values from outside call it, and the store calls
// it again for what it keeps.
//
// Functions return nil, or a public error that says what is wrong and what to write
// instead. They look at the value alone; whether it fits what a node holds, such as
// whether a trigger's script exists, is decided in package store.
package check
