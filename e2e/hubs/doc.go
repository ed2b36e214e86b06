// Command hubs measures PiCloud beside nginx with nchan and beside a bare loop
// that does nothing but one write for each delivery, in one run on one machine:
// the server on one core, the load on another.
//
//	hubs -picloud ./picloud [-subscribers 1000,10000] [-rounds 3] [-seconds 3]
//
// It is for scripts/bench-hubs, which installs what is missing and builds. It
// holds no figure against a limit: that is for people to read.
package main
