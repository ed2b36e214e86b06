// Package certificate keeps the TLS certificate of a node: it reads the pair of files, follows
// their replacement while the node runs, and makes a private authority with certificates for
// networks on which no public one issues any.
//
// It serves nothing and opens no port. Files are its only input; it writes files only where an
// Authority is told to.
package certificate
