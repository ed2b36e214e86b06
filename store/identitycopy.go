package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
)

// node.json is there twice, each with a checksum over its values, so that a flipped bit
// in an id, an epoch or the recovery key is noticed and costs nothing. The copy is
// written first: it is never older than what the node has handed out positions under.
// Both have spaces at the end up to a fixed size, so that they can be overwritten in
// place on a disk without free blocks.

const identityCopy = identityFile + ".copy"

// identitySize is the size of both files, unless their content is larger.
const identitySize = 8 << 10

// sumSince is the first format whose node.json must have a checksum.
const sumSince = 3

// encode returns what the files hold.
func (id *identity) encode() ([]byte, error) {
	id.Sum = ""
	b, err := json.Marshal(id)
	if err != nil {
		return nil, err
	}
	id.Sum = fmt.Sprintf("%08x", crc32.Checksum(b, castagnoli))
	if b, err = json.MarshalIndent(id, "", "\t"); err != nil {
		return nil, err
	}
	b = append(b, bytes.Repeat([]byte{' '}, max(0, identitySize-1-len(b)))...)
	return append(b, '\n'), nil
}

// checkSum returns an error unless the checksum is that of the values.
func (id *identity) checkSum() error {
	if id.Sum == "" && id.Format < sumSince {
		return nil
	}
	plain := *id
	plain.Sum = ""
	b, err := json.Marshal(&plain)
	if err != nil {
		return err
	}
	if id.Sum != fmt.Sprintf("%08x", crc32.Checksum(b, castagnoli)) {
		return errors.New("its checksum does not match")
	}
	return nil
}

func parseIdentity(b []byte, id *identity) error {
	if err := newer(identityFile, parseFormat(bytes.NewReader(b))); err != nil {
		return err
	}
	if err := json.Unmarshal(b, id); err != nil {
		return err
	}
	if err := id.checkSum(); err != nil {
		return err
	}
	pos, err := picloud.ParsePosition(id.Epoch + ".0")
	if err != nil || id.ID == "" {
		return errors.New("id or epoch is missing or malformed")
	}
	id.epoch, id.Format = pos.Epoch, max(id.Format, 1)
	return nil
}

// unreadError says that a file was not read, which says nothing of what is in it.
type unreadError struct{ cause error }

func (e *unreadError) Error() string { return e.cause.Error() }

// Unwrap returns the cause.
func (e *unreadError) Unwrap() error { return e.cause }

// readSmall reads a file of at most limit bytes. fs.ErrNotExist: there is none. An
// *unreadError: it could not be read. Any other error says what else is in its place: it
// waits for no pipe, and reads nothing that is larger.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // #nosec G304 -- below the data directory
	if errors.Is(err, fs.ErrNotExist) {
		if target, lerr := os.Readlink(path); lerr == nil {
			return nil, &unreadError{fmt.Errorf("it is a link to %s: %w", target, fs.ErrNotExist)}
		}
		return nil, err
	}
	if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) {
		return nil, errors.New("it is no regular file")
	}
	if err != nil {
		return nil, &unreadError{err}
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, &unreadError{err}
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("it is no regular file, but %v", info.Mode().Type())
	case info.Size() > limit:
		return nil, fmt.Errorf("it has %d bytes", info.Size())
	}
	b, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, &unreadError{err}
	}
	return b, nil
}

// identityFaults are what is wrong with the two files; nil: nothing.
type identityFaults struct{ file, spare error }

// readIdentities reads both files and returns what the node is by the better one. The
// error is that of node.json when neither is good, or one that says that a file was not
// read or is of a newer version.
func readIdentities(dir string) (id identity, faults identityFaults, err error) {
	var spare identity
	id, faults.file = readIdentityFile(dir, identityFile)
	spare, faults.spare = readIdentityFile(dir, identityCopy)
	for name, fault := range map[string]error{identityFile: faults.file, identityCopy: faults.spare} {
		if isNewer(fault) {
			return identity{}, faults, fault
		}
		if _, ok := errors.AsType[*unreadError](fault); ok {
			return identity{}, faults, unread(name, fault)
		}
	}
	switch {
	case faults.file == nil:
		if faults.spare == nil && spare.Sum != id.Sum {
			faults.spare = fs.ErrNotExist // of a write that was cut off
		}
		return id, faults, nil
	case faults.spare == nil:
		return spare, faults, nil
	}
	return identity{}, faults, faults.file
}

func readIdentityFile(dir, name string) (id identity, err error) {
	b, err := readSmall(filepath.Join(dir, name), maxIdentity)
	if err == nil {
		err = parseIdentity(b, &id)
	}
	if err != nil {
		return identity{}, err
	}
	return id, nil
}

// readIdentity returns fs.ErrNotExist when there is none, and another error when
// it cannot be understood.
func readIdentity(dir string) (identity, error) {
	id, _, err := readIdentities(dir)
	if err != nil {
		return id, fmt.Errorf("read node identity: %w", err)
	}
	return id, nil
}

// write replaces both files, so that a power cut leaves the old or the new identity.
func (id *identity) write(dir string) error {
	id.Format = formatVersion
	b, err := id.encode()
	if err != nil {
		return fmt.Errorf("write node identity: %w", err)
	}
	for _, name := range []string{identityCopy, identityFile} {
		err := replace(filepath.Join(dir, name), b)
		if name == identityFile && isFull(err) {
			if there, serr := exists(filepath.Join(dir, name)); serr == nil && !there {
				return nil // the copy stands for it
			}
		}
		if err != nil {
			return fmt.Errorf("write node identity: %w", err)
		}
	}
	return nil
}

// isFull reports whether an error says that the disk has no space.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// replace is writeFileSync, but for a disk without space: then it overwrites the file,
// of which there is another that is good.
func replace(path string, b []byte) error {
	err := writeFileSync(path, b)
	if !isFull(err) {
		return err
	}
	if info, serr := os.Lstat(path); serr != nil || !info.Mode().IsRegular() || info.Size() != int64(len(b)) {
		return err
	}
	f, oerr := os.OpenFile(path, os.O_WRONLY, 0) // #nosec G304 -- below the data directory
	if oerr != nil {
		return err
	}
	if _, oerr = f.WriteAt(b, 0); oerr == nil {
		oerr = f.Sync()
	}
	return errors.Join(oerr, f.Close())
}

// openIdentity reads who this node is, or makes a new identity when neither file is
// good: the node is not known then, nor is one whose new identity was not told. What is
// damaged is set aside and written again.
func (s *Store) openIdentity(r *recovery) error {
	id, faults, err := readIdentities(s.cfg.Dir)
	missing := errors.Is(faults.file, fs.ErrNotExist) && errors.Is(faults.spare, fs.ErrNotExist)
	if _, ok := errors.AsType[*unreadError](err); isNewer(err) || ok {
		return err
	}
	if s.ident = id; err != nil {
		s.ident = newIdentity(s.cfg.Now())
	}
	s.takeUntold(r)
	s.identMissing, r.known = missing || id.New && !s.found(identityFile), err == nil && !id.New
	if err == nil && faults.file == nil && faults.spare == nil {
		return nil
	}
	for name, fault := range map[string]error{identityFile: faults.file, identityCopy: faults.spare} {
		if fault == nil || errors.Is(fault, fs.ErrNotExist) {
			continue
		}
		if err := s.identityAside(name, fault, err == nil); err != nil {
			return err
		}
	}
	if !r.known || s.readOnly {
		return nil
	}
	if errors.Is(faults.file, fs.ErrNotExist) {
		s.incident("node.json was missing and was written again from node.json.copy.")
	}
	return s.keepFound(r)
}

// identityAside sets one of the files aside. On a full disk it stays, to be overwritten.
func (s *Store) identityAside(name string, fault error, known bool) error {
	did := "Neither copy is good: the node has a new identity."
	if known {
		did = "The other copy is used."
	}
	text := fmt.Sprintf("%s could not be used (%v). %s", name, fault, did)
	s.log.Error("identity is damaged", slog.String("file", name), slog.Any("err", fault))
	if s.readOnly {
		s.incident(text)
		return nil
	}
	to, err := setAside(s.cfg.Dir, name, s.cfg.Now())
	switch {
	case isFull(err):
	case err != nil:
		return fmt.Errorf("set %s aside: %w", name, err)
	default:
		text += " The damaged file is kept as " + to + "."
	}
	s.incident(text)
	return nil
}

// tellNewIdentity notes, once it is known what else there is, that this node has lost who
// it was.
func (s *Store) tellNewIdentity(r *recovery) {
	if r.journal.Last == 0 && r.state.Node == "" && !s.ident.New {
		return // the first start
	}
	s.ident.New = true
	if s.found(newKeyText) { // by a start that was cut off
		return
	}
	who := "The node goes on as " + s.ident.ID + ", as its state or journal says."
	if !s.identKept {
		who = "The node has a new id, " + s.ident.ID + ": in Postgres it is another node."
	}
	missing := ""
	if s.identMissing {
		missing = "node.json and node.json.copy were missing. "
	}
	s.incident(missing + who + newKeyText)
}

// newKeyText ends the incident of a new identity.
const newKeyText = " Readers get one reset. The recovery key is a new one: write it down ('picloud recovery-key')."
