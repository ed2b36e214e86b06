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
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/picloud/picloud"
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
	maxDamages  = 64 << 20  // bytes of the manifest for what was damaged
	maxPadding  = 1 << 20   // bytes between the end of the archive and that of the compressed stream
)

// sum is the SHA-256 of a file.
type sum [sha256.Size]byte

// Verified is what an archive says of itself that is as the node wrote it.
type Verified struct {
	Damaged      []string // what was damaged on the node already, for people
	OpensSecrets bool     // it has the key of the secrets in it
}

// VerifyBackup reads an archive to its end. An error says that it is not as the node
// wrote it.
func VerifyBackup(r io.Reader) (Verified, error) {
	about, err := eachFile(r, func(_ string, _ int64, content io.Reader) (sum, error) {
		h := sha256.New()
		if _, err := io.Copy(h, content); err != nil {
			return sum{}, fmt.Errorf("%w: %w", ErrBackupDamaged, err)
		}
		return sum(h.Sum(nil)), nil
	})
	if err != nil {
		return Verified{}, err
	}
	return Verified{Damaged: about.damages(), OpensSecrets: about.opensSecrets}, nil
}

// summary is what an archive says of itself beside the sums of its files, and what
// unpacking has found out.
type summary struct {
	lastLSN      uint64             // the newest record
	opensSecrets bool               // the key of secrets is in it
	damaged      map[string]string  // what was damaged on the node, by the name of the file in the archive
	contents     map[string]content // of files, by their names in the archive
	newest       int64              // time of a record, microseconds
}

// content is the content of a file.
type content struct {
	size int64
	sum  sum
}

// damages says what was damaged on the node, in order.
func (s *summary) damages() (list []string) {
	for _, name := range slices.Sorted(maps.Keys(s.damaged)) {
		list = append(list, s.damaged[name])
	}
	return list
}

// damagedJournal reports whether the journal was damaged on the node.
func (s *summary) damagedJournal() bool {
	for name := range s.damaged {
		if strings.HasPrefix(name, "journal/") {
			return true
		}
	}
	return false
}

// fileFault returns how the content of a file differs from what its row says; nil: it
// does not.
func fileFault(f *picloud.File, have content, there bool) error {
	switch {
	case !there:
		return errors.New("its content is missing")
	case have.size != f.Size:
		return fmt.Errorf("its content has %d bytes, not %d", have.size, f.Size)
	case !strings.EqualFold(hex.EncodeToString(have.sum[:]), f.SHA256):
		return errors.New("the checksum of its content does not match")
	}
	return nil
}

// eachFile calls fn with every file of an archive and its size, which returns its sum,
// and holds the sums against the manifest. Nothing but ordinary files under names of
// their own is taken, the identity first and the manifest last, and nothing behind it.
func eachFile(r io.Reader, fn func(name string, size int64, content io.Reader) (sum, error)) (*summary, error) {
	in := bufio.NewReader(r)
	zr, err := gzip.NewReader(in)
	if err != nil {
		return nil, damaged(err)
	}
	zr.Multistream(false)
	a := archive{tar: tar.NewReader(zr), sums: map[string]sum{}, summary: summary{damaged: map[string]string{}}}
	for more := true; more; {
		if more, err = a.next(fn); err != nil {
			return nil, err
		}
	}
	n, err := io.Copy(io.Discard, io.LimitReader(zr, maxPadding+1)) // checks the sum of the whole
	if err != nil {
		return nil, damaged(err)
	}
	if _, err := in.Peek(1); n > maxPadding || !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows its end", ErrBackupDamaged)
	}
	switch {
	case !a.complete:
		return nil, fmt.Errorf("%w: it ends before its manifest", ErrBackupDamaged)
	case len(a.sums) > 0:
		return nil, fmt.Errorf("%w: its manifest lacks files", ErrBackupDamaged)
	}
	return &a.summary, nil
}

func damaged(err error) error { return fmt.Errorf("%w: %w", ErrBackupDamaged, err) }

// archive is an archive that is being read.
type archive struct {
	tar      *tar.Reader
	files    int
	sums     map[string]sum // of the files that have come, without those that the manifest has
	complete bool           // the manifest has come

	summary
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
		h.Name == manifestFile && h.Size > min(maxManifest, int64(a.files+1)*perArchived+maxDamages):
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
		case "last_lsn":
			return d.Decode(&a.lastLSN)
		case "opens_secrets":
			return d.Decode(&a.opensSecrets)
		case "damaged":
			return eachMember(d, func(name string) error { return a.readDamage(d, name) })
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

// readDamage reads what was damaged on the node.
func (a *archive) readDamage(d *json.Decoder, name string) error {
	var text string
	if err := d.Decode(&text); err != nil {
		return err
	}
	if !archived.MatchString(name) || strings.ContainsFunc(text, unicode.IsControl) {
		return fmt.Errorf("%w: %q cannot have been damaged", ErrBackupDamaged, name)
	}
	a.damaged[name] = text
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
