package main

import (
	"errors"
	"os"
	"path/filepath"
)

// writePrivate writes a file that appears under its name only when all of it is on the disk. Only
// its owner may read it. What an earlier attempt has left is not in the way.
func writePrivate(name string, write func(f *os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*"+unfinishedExt)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err == nil {
		err = syncDir(filepath.Dir(name))
	}
	return err
}

// unfinishedExt ends the names of files that are not whole.
const unfinishedExt = ".tmp"

// syncDir makes the name of a new file last.
func syncDir(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- the operator names it
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
