package store

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// A backup is a gzipped tar archive of a data directory as it was at one
// moment: node.json, state.db, the journal's files, the contents of files, and last
// manifest.json with the SHA-256 of each, and with what was damaged on the node already:
// contents that are not what their rows say, records that cannot be read. A restore goes
// on without those, and refuses damage of which the manifest does not say.

const manifestFile = "manifest.json"

type manifest struct {
	Format    uint64    `json:"format"`
	Node      string    `json:"node"`
	CreatedAt time.Time `json:"created_at"`
	LastLSN   uint64    `json:"last_lsn"`
	// OpensSecrets is true when node.json has the key of the secrets in state.db.
	OpensSecrets bool              `json:"opens_secrets,omitempty"`
	Damaged      map[string]string `json:"damaged,omitempty"` // what was damaged on the node, by its file in the archive
	SHA256       map[string]string `json:"sha256"`
}

// Backup writes one consistent, checksummed archive of everything that was
// committed when it was called. The node goes on serving meanwhile. Contents and records
// are checked as they are read: what is damaged is named in the manifest, and noted in
// Health.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	if s.tables.db == nil {
		return errors.New("back up: the state cannot be read; mend the disk and start again")
	}
	if err := s.do(ctx, "", func(*tx) error { return nil }); err != nil && !errors.Is(err, picloud.ErrReadOnly) {
		return fmt.Errorf("back up: %w", err) // the empty command has everything before it fsynced
	}
	defer s.blobs.hold()()
	wanted, err := s.wantedContents() // before the bearings: what comes between was just written
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	snap, state, err := s.bearings()
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer func() {
		_ = snap.Close()  // only read
		_ = state.Close() // an unlinked temporary file
	}()
	if err := s.writeBackup(ctx, w, snap, state, wanted); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	return nil
}

// bearings takes hold of the journal's files and a copy of state.db that
// belong together: no checkpoint and no drop comes between.
func (s *Store) bearings() (*journal.Snapshot, *os.File, error) {
	s.maintainMu.Lock()
	defer s.maintainMu.Unlock()
	snap, err := s.journal.Snapshot()
	if err != nil {
		return nil, nil, err
	}
	dir := s.cfg.Dir
	if s.readOnly {
		dir = "" // the system's
	}
	f, err := os.CreateTemp(dir, ".backup-*.tmp")
	if err == nil {
		err = os.Remove(f.Name()) // it lives as long as it is open
	}
	if err == nil {
		err = s.tables.db.View(func(tx *bbolt.Tx) error {
			_, err := tx.WriteTo(f)
			return err
		})
	}
	if err != nil {
		_ = snap.Close() // the first error is the one to tell
		if f != nil {
			_ = f.Close()
		}
		return nil, nil, err
	}
	return snap, f, nil
}

func (s *Store) writeBackup(ctx context.Context, w io.Writer, snap *journal.Snapshot, state *os.File, wanted map[string]wantedContent) error {
	zw, err := gzip.NewWriterLevel(w, gzip.BestSpeed) // the empty part of a segment is all zeros
	if err != nil {
		return err
	}
	b := backupWriter{ctx: ctx, tar: tar.NewWriter(zw), sums: map[string]string{}, damaged: map[string]string{}, at: s.cfg.Now()}
	ident, err := os.ReadFile(s.path(identityFile))
	if err != nil {
		return err
	}
	if err := b.bytes(identityFile, ident); err != nil {
		return err
	}
	err = readPages(state, func(f *pageFile) error { return checkStateCopy(f, nil) })
	if err != nil {
		return fmt.Errorf("%s is damaged (%w): start the node again, which mends it as far as possible", stateFile, err)
	}
	info, err := state.Stat()
	if err != nil {
		return err
	}
	if err := b.file(stateFile, info.Size(), io.NewSectionReader(state, 0, info.Size())); err != nil {
		return err
	}
	if err := s.writeJournal(&b, snap); err != nil {
		return err
	}
	if err := s.writeBlobs(&b, wanted); err != nil {
		return err
	}
	m, err := json.MarshalIndent(manifest{
		Format: formatVersion, Node: s.ident.ID, CreatedAt: b.at.UTC(), LastLSN: uint64(snap.Last()),
		OpensSecrets: len(s.cfg.Credential) == 0, Damaged: b.damaged, SHA256: b.sums,
	}, "", "\t")
	if err != nil {
		return err
	}
	if err := b.bytes(manifestFile, m); err != nil {
		return err
	}
	s.tellDamaged(b.damaged)
	return errors.Join(b.tar.Close(), zw.Close())
}

// tellDamaged notes what a backup has found damaged.
func (s *Store) tellDamaged(found map[string]string) {
	for _, what := range found {
		s.log.Error("damage found by a backup", slog.String("what", what))
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		s.incident(fmt.Sprintf("A backup has found damage in %d places, such as this: %s. It is not good in the backup either: "+
			"write it again, or restore an older backup elsewhere and copy it from there.", len(found), found[name]))
		return
	}
}

// writeJournal adds the journal's files, and notes which of their records cannot be read.
func (s *Store) writeJournal(b *backupWriter, snap *journal.Snapshot) error {
	for _, f := range snap.Files() {
		r, err := f.Open()
		if err != nil {
			return err
		}
		_, fault, err := b.copy("journal/"+f.Name, f.Size, r)
		_ = r.Close() // only read
		if err != nil {
			return err
		}
		if fault != nil {
			b.damaged["journal/"+f.Name] = fmt.Sprintf("the journal file %s: %v", f.Name, fault)
		}
	}
	return s.readJournal(b.ctx, snap.Last(), func(d *journal.DamageError) {
		b.damaged["journal/"+d.File] = "the journal: " + d.Error()
	})
}

// readJournal reads all records up to one, and calls fn with each damage. Records that are
// dropped meanwhile are left out.
func (s *Store) readJournal(ctx context.Context, upTo journal.LSN, fn func(d *journal.DamageError)) error {
	var rd *journal.Reader
	for _, seg := range s.journal.Segments() {
		var err error
		rd, err = s.journal.NewReader(seg.Base)
		if err == nil {
			break
		}
		damage, ok := errors.AsType[*journal.DamageError](err) // of the first record: the file is known to be damaged
		if !ok {
			return ignoreGone(err)
		}
		fn(damage)
	}
	if rd == nil {
		return nil
	}
	defer func() { _ = rd.Close() }() // only read
	for ctx.Err() == nil {
		rec, err := rd.Next()
		if damage, ok := errors.AsType[*journal.DamageError](err); ok {
			fn(damage)
			_, err = rd.Resync()
		} else if _, last := rec.Range(); err == nil && last >= upTo {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return ignoreGone(err)
		}
	}
	return context.Cause(ctx)
}

func ignoreGone(err error) error {
	if errors.Is(err, journal.ErrGone) {
		return nil
	}
	return err
}

// wantedContent is the content that a file has to have.
type wantedContent struct {
	app, path string
	size      int64
	sum       sum
}

// wantedContents returns what contents have to be, by their names.
func (s *Store) wantedContents() (map[string]wantedContent, error) {
	wanted := map[string]wantedContent{}
	var err error
	s.tables.scan(tableFile, "", "", func(_ string, v []byte) bool {
		var f picloud.File
		if err = cborDecode(v, &f); err != nil {
			return false
		}
		w := wantedContent{app: f.App, path: f.Path, size: f.Size}
		b, _ := hex.DecodeString(f.SHA256) // one that is none differs from all
		copy(w.sum[:], b)
		wanted[f.Blob] = w
		return true
	})
	return wanted, err
}

// writeBlobs adds the contents of files, all of them: one whose writing is about to be finished
// may have its row in the backup already. Those that came since do no harm: a node
// that has them and does not know them removes them. Contents that are not what their
// files want are noted.
func (s *Store) writeBlobs(b *backupWriter, wanted map[string]wantedContent) error {
	names, err := s.blobs.list(true)
	if err != nil {
		return err
	}
	for _, name := range names {
		w, known := wanted[name]
		delete(wanted, name)
		f, err := s.blobs.open(name)
		if errors.Is(err, fs.ErrNotExist) && !known {
			continue // it was garbage
		}
		if err != nil {
			b.noteContent(name, w, fmt.Errorf("its content cannot be opened: %w", err))
			continue
		}
		if err := b.blob(name, f, known, w); err != nil {
			return err
		}
	}
	for name, w := range wanted {
		b.noteContent(name, w, errors.New("its content is missing"))
	}
	return nil
}

// backupWriter adds files to an archive and keeps their sums.
type backupWriter struct {
	ctx  context.Context //nolint:containedctx // lives for one call of writeBackup
	tar  *tar.Writer
	sums map[string]string
	at   time.Time

	damaged map[string]string // what, by the name of the file
}

func (b *backupWriter) bytes(name string, content []byte) error {
	return b.file(name, int64(len(content)), bytes.NewReader(content))
}

func (b *backupWriter) file(name string, size int64, r io.Reader) error {
	_, fault, err := b.copy(name, size, r)
	return errors.Join(err, fault)
}

// blob adds the content of a file, and closes it.
func (b *backupWriter) blob(name string, f *os.File, known bool, w wantedContent) error {
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	have, fault, err := b.copy(blobsDir+"/"+name, info.Size(), f)
	switch {
	case err != nil || !known:
		return err
	case fault != nil:
	case info.Size() != w.size:
		fault = fmt.Errorf("its content has %d bytes, not %d", info.Size(), w.size)
	case have != w.sum:
		fault = errors.New("its content is not the one that was written")
	default:
		return nil
	}
	b.noteContent(name, w, fault)
	return nil
}

// noteContent notes that a file lacks its content.
func (b *backupWriter) noteContent(name string, w wantedContent, fault error) {
	b.damaged[blobsDir+"/"+name] = fmt.Sprintf("file %q of app %q: %v", w.path, w.app, fault)
}

// copy adds a file. A fault is one of the file, whose place is filled up with zeros; after
// an error there can be no archive.
func (b *backupWriter) copy(name string, size int64, r io.Reader) (s sum, fault, err error) {
	err = b.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: b.at, Format: tar.FormatPAX})
	if err != nil {
		return s, nil, err
	}
	h := sha256.New()
	to := io.MultiWriter(b.tar, h)
	from := &errReader{r: io.LimitReader(r, size)}
	n, err := io.Copy(to, &ctxReader{b.ctx, from})
	switch {
	case from.err != nil:
		fault = fmt.Errorf("%s: %w", name, from.err)
	case err != nil:
		return s, nil, fmt.Errorf("%s: %w", name, err)
	case n != size:
		fault = fmt.Errorf("%s: has %d bytes, not %d", name, n, size)
	}
	if fault != nil {
		if _, err := io.CopyN(to, zeros{}, size-n); err != nil {
			return s, nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	b.sums[name] = sumText(h)
	return sum(h.Sum(nil)), fault, nil
}

// zeros reads as zeros without end.
type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func sumText(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// ctxReader ends a copy when its context ends.
type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives for one copy
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
