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
	"os"
	"time"

	"go.etcd.io/bbolt"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// A backup is a gzipped tar archive of a data directory as it was at one
// moment: node.json, state.db, the journal's files, the contents of files, and last
// manifest.json with the SHA-256 of each.

const manifestFile = "manifest.json"

type manifest struct {
	Format    uint64            `json:"format"`
	Node      string            `json:"node"`
	CreatedAt time.Time         `json:"created_at"`
	LastLSN   uint64            `json:"last_lsn"`
	SHA256    map[string]string `json:"sha256"`
}

// Backup writes one consistent, checksummed archive of everything that was
// committed when it was called. The node goes on serving meanwhile.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	if s.tables.db == nil {
		return errors.New("back up: the state cannot be read; mend the disk and start again")
	}
	if err := s.do(ctx, "", func(*tx) error { return nil }); err != nil && !errors.Is(err, picloud.ErrReadOnly) {
		return fmt.Errorf("back up: %w", err) // the empty command has everything before it fsynced
	}
	defer s.blobs.hold()()
	snap, state, err := s.bearings()
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer func() {
		_ = snap.Close()  // only read
		_ = state.Close() // an unlinked temporary file
	}()
	if err := s.writeBackup(ctx, w, snap, state); err != nil {
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

func (s *Store) writeBackup(ctx context.Context, w io.Writer, snap *journal.Snapshot, state *os.File) error {
	zw, err := gzip.NewWriterLevel(w, gzip.BestSpeed) // the empty part of a segment is all zeros
	if err != nil {
		return err
	}
	b := backupWriter{ctx: ctx, tar: tar.NewWriter(zw), sums: map[string]string{}, at: s.cfg.Now()}
	ident, err := os.ReadFile(s.path(identityFile))
	if err != nil {
		return err
	}
	if err := b.bytes(identityFile, ident); err != nil {
		return err
	}
	info, err := state.Stat()
	if err != nil {
		return err
	}
	if err := b.file(stateFile, info.Size(), io.NewSectionReader(state, 0, info.Size())); err != nil {
		return err
	}
	for _, f := range snap.Files() {
		r, err := f.Open()
		if err != nil {
			return err
		}
		err = b.file("journal/"+f.Name, f.Size, r)
		_ = r.Close() // only read
		if err != nil {
			return err
		}
	}
	if err := s.writeBlobs(&b); err != nil {
		return err
	}
	m, err := json.MarshalIndent(manifest{
		Format: formatVersion, Node: s.ident.ID, CreatedAt: b.at.UTC(), LastLSN: uint64(snap.Last()), SHA256: b.sums,
	}, "", "\t")
	if err != nil {
		return err
	}
	if err := b.bytes(manifestFile, m); err != nil {
		return err
	}
	return errors.Join(b.tar.Close(), zw.Close())
}

// writeBlobs adds the contents of files, all of them: one whose writing is about to be finished
// may have its row in the backup already. Those that came since do no harm: a node
// that has them and does not know them removes them.
func (s *Store) writeBlobs(b *backupWriter) error {
	names, err := s.blobs.list(true)
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := s.blobs.open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was garbage
		}
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil {
			err = b.file(blobsDir+"/"+name, info.Size(), f)
		}
		_ = f.Close() // only read
		if err != nil {
			return err
		}
	}
	return nil
}

// backupWriter adds files to an archive and keeps their sums.
type backupWriter struct {
	ctx  context.Context //nolint:containedctx // lives for one call of writeBackup
	tar  *tar.Writer
	sums map[string]string
	at   time.Time
}

func (b *backupWriter) bytes(name string, content []byte) error {
	return b.file(name, int64(len(content)), bytes.NewReader(content))
}

func (b *backupWriter) file(name string, size int64, r io.Reader) error {
	err := b.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: b.at, Format: tar.FormatPAX})
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(b.tar, sum), &ctxReader{b.ctx, r})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if n != size {
		return fmt.Errorf("%s: has %d bytes, not %d", name, n, size)
	}
	b.sums[name] = sumText(sum)
	return nil
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
