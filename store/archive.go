package store

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// archived are the names an archive may hold. Anything else, and above all a
// path that leads elsewhere, is refused.
var archived = regexp.MustCompile(`^(node\.json|state\.db|manifest\.json|journal/[0-9A-Za-z][0-9A-Za-z._-]*|files/[a-z2-7]{26})$`)

// Limits of an archive. What its files take is bounded by the disk.
const (
	maxArchived = 1 << 20   // files
	maxIdentity = 1 << 20   // bytes of node.json
	maxManifest = 256 << 20 // bytes
	perArchived = 1 << 10   // bytes of the manifest for each file, generously
	maxPadding  = 1 << 20   // bytes between the end of the archive and that of the compressed stream
)

// sum is the SHA-256 of a file.
type sum [sha256.Size]byte

// VerifyBackup reads an archive and returns nil when it is whole.
func VerifyBackup(r io.Reader) error {
	return eachFile(r, func(_ string, _ int64, content io.Reader) (sum, error) {
		h := sha256.New()
		if _, err := io.Copy(h, content); err != nil {
			return sum{}, fmt.Errorf("%w: %w", ErrBackupDamaged, err)
		}
		return sum(h.Sum(nil)), nil
	})
}

// eachFile calls fn with every file of an archive and its size, which returns its sum,
// and holds the sums against the manifest. Nothing but ordinary files under names of
// their own is taken, the identity first and the manifest last, and nothing behind it.
func eachFile(r io.Reader, fn func(name string, size int64, content io.Reader) (sum, error)) error {
	in := bufio.NewReader(r)
	zr, err := gzip.NewReader(in)
	if err != nil {
		return damaged(err)
	}
	zr.Multistream(false)
	a := archive{tar: tar.NewReader(zr), sums: map[string]sum{}}
	for more := true; more; {
		if more, err = a.next(fn); err != nil {
			return err
		}
	}
	n, err := io.Copy(io.Discard, io.LimitReader(zr, maxPadding+1)) // checks the sum of the whole
	if err != nil {
		return damaged(err)
	}
	if _, err := in.Peek(1); n > maxPadding || !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows its end", ErrBackupDamaged)
	}
	switch {
	case !a.complete:
		return fmt.Errorf("%w: it ends before its manifest", ErrBackupDamaged)
	case len(a.sums) > 0:
		return fmt.Errorf("%w: its manifest lacks files", ErrBackupDamaged)
	}
	return nil
}

func damaged(err error) error { return fmt.Errorf("%w: %w", ErrBackupDamaged, err) }

// archive is an archive that is being read.
type archive struct {
	tar      *tar.Reader
	files    int
	sums     map[string]sum // of the files that have come, without those that the manifest has
	complete bool           // the manifest has come
}

func (a *archive) next(fn func(name string, size int64, content io.Reader) (sum, error)) (more bool, err error) {
	h, err := a.tar.Next()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, damaged(err)
	}
	if err := a.admit(h); err != nil {
		return false, err
	}
	a.files++
	content := io.Reader(a.tar)
	switch h.Name {
	case manifestFile:
		a.complete = true
		return true, a.check(io.LimitReader(content, h.Size))
	case identityFile: // a newer backup is refused before anything is unpacked
		b, err := io.ReadAll(content)
		if err != nil {
			return false, damaged(err)
		}
		if err := newer(identityFile, parseFormat(bytes.NewReader(b))); err != nil {
			return false, err
		}
		content = bytes.NewReader(b)
	}
	a.sums[h.Name], err = fn(h.Name, h.Size, content)
	return true, err
}

// admit returns an error for what does not belong into an archive.
func (a *archive) admit(h *tar.Header) error {
	_, twice := a.sums[h.Name]
	if h.Typeflag != tar.TypeReg || !archived.MatchString(h.Name) || sparse(h) || twice || a.complete {
		return fmt.Errorf("%w: %q does not belong there", ErrBackupDamaged, h.Name)
	}
	switch {
	case (a.files == 0) != (h.Name == identityFile):
		return fmt.Errorf("%w: it begins with %q", ErrBackupDamaged, h.Name)
	case a.files == maxArchived:
		return fmt.Errorf("%w: it has more than %d files", ErrBackupDamaged, maxArchived)
	case h.Name == identityFile && h.Size > maxIdentity,
		h.Name == manifestFile && h.Size > min(maxManifest, int64(a.files+1)*perArchived):
		return fmt.Errorf("%w: %s has %d bytes", ErrBackupDamaged, h.Name, h.Size)
	}
	return nil
}

// sparse reports whether a file has holes, which take no room in the archive.
func sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// check reads the manifest and holds it against the files that have come. What it has
// of a file is not kept: a node may have very many.
func (a *archive) check(r io.Reader) error {
	_, identity := a.sums[identityFile]
	_, state := a.sums[stateFile]
	if !identity || !state {
		return fmt.Errorf("%w: files are missing", ErrBackupDamaged)
	}
	d := json.NewDecoder(r)
	err := eachMember(d, func(key string) error {
		switch key {
		case "format":
			var format uint64
			if err := d.Decode(&format); err != nil {
				return err
			}
			return newer(manifestFile, format)
		case "sha256":
			return eachMember(d, func(name string) error { return a.compare(d, name) })
		}
		var other json.RawMessage
		return d.Decode(&other)
	})
	if isNewer(err) || errors.Is(err, ErrBackupDamaged) {
		return err
	}
	if err != nil {
		return damaged(err)
	}
	return nil
}

func (a *archive) compare(d *json.Decoder, name string) error {
	var text string
	if err := d.Decode(&text); err != nil {
		return err
	}
	got, there := a.sums[name]
	if !there || text != hex.EncodeToString(got[:]) {
		return fmt.Errorf("%w: the checksum of %s does not match", ErrBackupDamaged, name)
	}
	delete(a.sums, name)
	return nil
}

// eachMember calls fn with the name of each member of the JSON object that comes next;
// fn reads the value.
func eachMember(d *json.Decoder, fn func(name string) error) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(errors.New("not an object"), err)
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, ok := t.(string)
		if !ok {
			return fmt.Errorf("%v is no name", t)
		}
		if err := fn(name); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}
