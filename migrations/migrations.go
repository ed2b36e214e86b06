// Package migrations holds the schema of the central copy as numbered SQL files.
// It does not run them; package pgsync does.
//
// A file is never changed once it was released: what is different comes with the
// next number. A migration that nodes of the version before cannot write to
// raises settings.oldest_writer.
package migrations

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.sql
var files embed.FS

// Migration is one step of the schema.
type Migration struct {
	Version int    // 1, 2, 3, …
	Name    string // of the file
	SQL     string // runs in one transaction, with the schema first in the search path
}

// All returns all migrations in order.
func All() []Migration {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // embedded
	}
	all := make([]Migration, len(entries))
	for i, e := range entries { // sorted by name
		var n int
		if _, err := fmt.Sscanf(e.Name(), "%04d_", &n); err != nil || n != i+1 {
			panic("migrations: " + e.Name() + " is out of order")
		}
		sql, err := files.ReadFile(e.Name())
		if err != nil {
			panic(err) // embedded
		}
		all[i] = Migration{Version: n, Name: strings.TrimSuffix(e.Name(), ".sql"), SQL: string(sql)}
	}
	return all
}
