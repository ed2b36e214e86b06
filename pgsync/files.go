package pgsync

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// partSize is how much of a content goes at once: little enough for a thin link, so
// that a line that breaks costs at most that.
const partSize = 256 << 10

// sendContents sends the contents of files before the rows that name them, part by
// part, each in a transaction of its own that leaves the position where it is. One
// that was cut off goes on where it was. One that the node does not have any more
// was replaced: what replaced it follows.
func (s *Sync) sendContents(ctx context.Context, changes []*picloud.Change) error {
	if s.cfg.OmitContents {
		return nil
	}
	for _, c := range changes {
		if f, ok := c.Value.(picloud.File); ok && f.Size > 0 {
			if err := s.sendContent(ctx, &f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Sync) sendContent(ctx context.Context, f *picloud.File) error {
	node := s.cfg.Local.Node().ID
	var there int64
	if err := s.conn.QueryRow(ctx, s.q("SELECT count(*) FROM @file_parts WHERE node_id = $1 AND content = $2"), node, f.Blob).Scan(&there); err != nil {
		return classify("look for the content of a file", err)
	}
	if there*partSize >= f.Size {
		return nil
	}
	content, err := s.cfg.Local.OpenContent(*f)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }() // only read
	_, err = io.CopyN(io.Discard, content, there*partSize)
	for ; err == nil && there*partSize < f.Size; there++ {
		part := make([]byte, min(partSize, f.Size-there*partSize))
		if _, err = io.ReadFull(content, part); err != nil {
			break
		}
		err := s.write(ctx, "copy the content of a file", s.lsn, func(b *pgx.Batch) {
			b.Queue(s.q("INSERT INTO @file_parts (node_id, content, part, bytes) VALUES ($1, $2, $3, $4)"), node, f.Blob, there, part)
		})
		if err != nil {
			return err
		}
	}
	if errors.Is(err, picloud.ErrFileDamaged) { // Postgres has only that there was one
		return s.write(ctx, "remove the content of a file", s.lsn, func(b *pgx.Batch) {
			b.Queue(s.q("DELETE FROM @file_parts WHERE node_id = $1 AND content = $2"), node, f.Blob)
		})
	}
	return err
}

func (s *Sync) queueFile(b *pgx.Batch, node string, f *picloud.File) {
	s.queueForget(b, node, f.App, f.Path, f.Blob)
	b.Queue(s.q(`INSERT INTO @files (node_id, app, path, type, size, sha256, version, created_at, updated_at, content) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (node_id, app, path) DO UPDATE SET type = excluded.type, size = excluded.size, sha256 = excluded.sha256, version = excluded.version,
		created_at = excluded.created_at, updated_at = excluded.updated_at, content = excluded.content`),
		node, f.App, f.Path, plain(f.Type), f.Size, f.SHA256, int64(f.Version), f.CreatedAt, f.UpdatedAt, f.Blob) // #nosec G115 -- microseconds since 1970
}

// queueForget removes the content of a file, unless it is the one to be kept.
func (s *Sync) queueForget(b *pgx.Batch, node, app, path, keep string) {
	b.Queue(s.q(`DELETE FROM @file_parts p USING @files f WHERE (f.node_id, f.app, f.path) = ($1, $2, $3)
		AND (p.node_id, p.content) = (f.node_id, f.content) AND f.content <> $4`), node, app, path, keep)
}

// forgetContents removes what was sent of contents that no file came to have.
func (s *Sync) forgetContents(ctx context.Context) error {
	_, err := s.conn.Exec(ctx, s.q(`DELETE FROM @file_parts p WHERE p.node_id = $1
		AND NOT EXISTS (SELECT FROM @files f WHERE (f.node_id, f.content) = (p.node_id, p.content))
		AND NOT EXISTS (SELECT FROM @set_aside s WHERE (s.node_id, s.content) = (p.node_id, p.content))`), s.cfg.Local.Node().ID)
	return classify("remove contents of files", err)
}

func (src *Source) files(ctx context.Context, put putChange) error {
	var f picloud.File
	var version int64
	return src.each(ctx, `SELECT f.app, f.path, f.type, f.size, f.sha256, f.version, f.created_at, f.updated_at, f.content FROM @files f
		WHERE f.node_id = $1 AND f.app IN `+ofApps+unlessAside("'file'", "f.app", "f.path")+src.only.sql("f.app", "f.path")+` ORDER BY 1, 2`,
		[]any{&f.App, &f.Path, &f.Type, &f.Size, &f.SHA256, &version, &f.CreatedAt, &f.UpdatedAt, &f.Blob}, func() error {
			v := f
			v.Version, v.CreatedAt, v.UpdatedAt = uint64(version), f.CreatedAt.UTC(), f.UpdatedAt.UTC() // #nosec G115 -- as it was written
			return put(picloud.Change{Kind: picloud.ChangeFile, App: v.App, Name: v.Path, Value: v})
		})
}

// Contents puts the contents of files, each in parts, in order.
func (src *Source) Contents(ctx context.Context, put func(name string, part []byte) error) error {
	var name string
	var part []byte
	return src.each(ctx, `SELECT p.content, p.bytes FROM @file_parts p WHERE p.node_id = $1 AND p.content IN (
		SELECT f.content FROM @files f WHERE f.node_id = $1 AND f.app IN `+ofApps+unlessAside("'file'", "f.app", "f.path")+`
		UNION SELECT s.content FROM @set_aside s WHERE `+holds+` AND s.app IN `+ofApps+`) ORDER BY p.content, p.part`, []any{&name, &part}, func() error { return put(name, part) })
}
