// Package daemon puts the parts of a node together and runs them: configuration,
// logging, wiring, the order of starting and stopping, and what systemd is told.
//
// wire.go is the machine as straight-line code. The package decides nothing that
// a part could decide itself, and nothing but config.go reads the environment.
package daemon
