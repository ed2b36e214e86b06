package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// checkPlaces looks at what is in the place of the files and folders of a node before any
// of it is opened. An error says what to do; nothing has been changed then. What the node
// can do without is noted.
func (s *Store) checkPlaces() error {
	for _, p := range []struct {
		name   string
		folder bool
		fix    string // what to do with what is there instead; empty: it is met later
	}{
		{name: "lock", fix: "remove it"},
		{name: restoring, folder: true, fix: "remove it"},
		{name: "journal", folder: true},
		{name: stateFile},
	} {
		odd, link, err := s.place(p.name, p.folder)
		switch {
		case errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("%s is neither readable nor writable for this user; nothing was changed; give it to the user that runs picloud", s.cfg.Dir)
		case err != nil:
			return unread(p.name, err)
		case link:
			return fmt.Errorf("%s is a link to something that is not there; nothing was changed; mount or make what it links to, or remove the link", p.name)
		case odd != "" && p.fix != "":
			return fmt.Errorf("%s is %s; nothing was changed; %s", p.name, odd, p.fix)
		}
	}
	odd, link, err := s.place(blobsDir, true)
	if odd != "" || link || err != nil {
		s.health.note(fmt.Sprintf("The folder %s cannot be used: contents of files can neither be read nor written. "+
			"Put it back, or mount what it links to, and start again.", s.path(blobsDir)))
	}
	return nil
}

// place says what is in a place where a file or a folder belongs: empty for that, or for
// nothing. Link is true for a link to something that is not there.
func (s *Store) place(name string, folder bool) (odd string, link bool, err error) {
	info, err := os.Stat(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		_, lerr := os.Lstat(s.path(name))
		return "", lerr == nil, nil
	}
	switch {
	case err != nil:
		return "", false, err
	case folder && !info.IsDir():
		return "no folder", false, nil
	case !folder && info.IsDir():
		return "a folder", false, nil
	}
	return "", false, nil
}

// clearDamaged makes way for the folder of damaged files, if something else is in its
// place. The caller has the lock.
func (s *Store) clearDamaged() error {
	odd, link, err := s.place(damagedDir, true)
	if err != nil || s.readOnly || odd == "" && !link {
		return err
	}
	to := damagedDir + "." + s.cfg.Now().UTC().Format(time.RFC3339Nano)
	if err := os.Rename(s.path(damagedDir), s.path(to)); err != nil {
		return fmt.Errorf("make way for the folder %s: %w", damagedDir, err)
	}
	s.log.Warn("what was in the place of a folder was renamed", slog.String("file", damagedDir), slog.String("to", to))
	return syncDir(s.cfg.Dir)
}
