package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/picloud/picloud"
)

// Files keeps files.
type Files interface {
	File(app, path string) (picloud.File, error)
	OpenFile(app, path string) (picloud.File, io.ReadSeekCloser, error)
	Files(app, prefix, after string, limit int) (page []picloud.File, next string, err error)
	PutFile(ctx context.Context, c picloud.FileChange, content io.Reader) (picloud.File, error)
	DeleteFile(ctx context.Context, d picloud.Deletion) error
}

// maxRead bounds what a script reads of a file at once.
const maxRead = 1 << 20

// file is a file as the JavaScript side reads it.
type file struct {
	Path      string `json:"path"`
	Type      string `json:"type"`
	Size      int64  `json:"size"`
	SHA256    string `json:"sha256"`
	Version   uint64 `json:"version"`
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
}

func fileOf(f *picloud.File) file {
	return file{
		Path: f.Path, Type: f.Type, Size: f.Size, SHA256: f.SHA256, Version: f.Version,
		CreatedAt: f.CreatedAt.Format(picloud.TimeLayout), UpdatedAt: f.UpdatedAt.Format(picloud.TimeLayout),
	}
}

func (h *Host) filesStat(_ context.Context, c *call) (any, error) {
	var path string
	if err := c.read(&path); err != nil {
		return nil, err
	}
	f, err := h.cfg.Store.File(c.app, path)
	if errors.Is(err, picloud.ErrFileNotFound) {
		return nil, nil //nolint:nilnil // null is the answer
	}
	return fileOf(&f), err
}

func (h *Host) filesRead(ctx context.Context, c *call) (any, error) {
	var path string
	var o struct {
		Offset int64  `json:"offset"`
		Length *int64 `json:"length"`
		Text   bool   `json:"text"`
	}
	if err := c.read(&path, &o); err != nil {
		return nil, err
	}
	f, content, err := h.cfg.Store.OpenFile(c.app, path)
	if errors.Is(err, picloud.ErrFileNotFound) {
		return nil, nil //nolint:nilnil // as above
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = content.Close() }() // only read
	length := max(0, f.Size-o.Offset)
	if o.Length != nil {
		length = min(length, *o.Length)
	}
	if o.Offset < 0 || length < 0 {
		return nil, errArgument.Detailf("offset and length cannot be negative")
	}
	if length > maxRead {
		return nil, picloud.ErrFileTooLarge.Detailf("it has %d bytes, and a script reads at most %d at once: use offset and length", f.Size, maxRead)
	}
	if err := c.answersBytes(ctx, int(length)); err != nil {
		return nil, err
	}
	b := make([]byte, length)
	if length < f.Size {
		if _, err := content.Seek(o.Offset, io.SeekStart); err != nil {
			return nil, err
		}
	}
	if _, err := io.ReadFull(content, b); err != nil {
		return nil, err
	}
	if !o.Text {
		return b, nil
	}
	if !utf8.Valid(b) {
		return nil, errArgument.Detailf("%q is not UTF-8 text; use files.read for its bytes", path)
	}
	return string(b), nil
}

func (h *Host) filesWrite(ctx context.Context, c *call) (any, error) {
	var o struct {
		Type    string `json:"type"`
		Version uint64 `json:"version"`
		Create  bool   `json:"create"`
	}
	in := picloud.FileChange{App: c.app, Cause: c.cause}
	var content json.RawMessage
	var binary bool
	if err := c.read(&in.Path, &content, &binary, &o); err != nil {
		return nil, err
	}
	data := material{text: content, binary: binary}
	b, err := data.bytes()
	if err != nil {
		return nil, err
	}
	if in.If, err = precondition(o.Version, o.Create); err != nil {
		return nil, err
	}
	if len(b) > maxRead {
		return nil, picloud.ErrFileTooLarge.Detailf("it has %d bytes, and a script writes at most %d", len(b), maxRead)
	}
	in.Type, in.Size = o.Type, int64(len(b))
	if in.Type == "" && !binary {
		in.Type = "text/plain; charset=utf-8"
	}
	f, err := h.cfg.Store.PutFile(ctx, in, strings.NewReader(string(b)))
	return fileOf(&f), err
}

func (h *Host) filesDelete(ctx context.Context, c *call) (any, error) {
	var path string
	var o struct {
		Version uint64 `json:"version"`
	}
	if err := c.read(&path, &o); err != nil {
		return nil, err
	}
	err := h.cfg.Store.DeleteFile(ctx, picloud.Deletion{App: c.app, Name: path, If: picloud.Precondition{Version: o.Version}, Cause: c.cause})
	if errors.Is(err, picloud.ErrFileNotFound) {
		return false, nil
	}
	return true, err
}

func (h *Host) filesList(_ context.Context, c *call) (any, error) {
	var o page
	if err := c.read(&o); err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	list, next, err := h.cfg.Store.Files(c.app, o.Prefix, o.After, o.Limit)
	if err != nil {
		return nil, err
	}
	out := make([]file, len(list))
	for i := range list {
		out[i] = fileOf(&list[i])
	}
	return map[string]any{"files": out, "next": next}, nil
}
