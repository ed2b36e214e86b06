// Package sdk is the node as scripts see it: it answers the calls that the
// JavaScript SDK makes, by the name of the module and the method.
//
// Everything it does is bound to the app of the script that asks, and goes
// through the same doors as requests from outside. Arguments are hostile until
// they are decoded.
//
// It does not run scripts (package script does, which also has the JavaScript
// side), and keeps nothing.
package sdk
