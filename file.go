package picloud

import (
	"mime"
	"strings"
	"time"
	"unicode/utf8"
)

// File describes a file of an app.
type File struct {
	App       string    `json:"app"`
	Path      string    `json:"path"` // such as photos/2026/door.jpg
	Type      string    `json:"type"` // content type
	Size      int64     `json:"size"`
	SHA256    string    `json:"sha256"` // of its content, hexadecimal
	Version   uint64    `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Blob      string    `json:"blob,omitempty"` // how the node calls the content; nothing to others
}

// FileChange asks for a file to be written.
type FileChange struct {
	App, Path string
	Type      string // empty: any bytes
	Size      int64  // of its content; negative: not known before
	SHA256    string // what the content must sum up to, hexadecimal; empty: whatever it does
	If        Precondition
}

// CheckFile returns nil when a file can be written under such a path and with such
// a type, otherwise a public error that says why not.
func CheckFile(path, kind string) error {
	if len(path) > MaxKey || !utf8.ValidString(path) || strings.ContainsFunc(path, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return ErrFileInvalid.Detailf("its path: use 1 to %d bytes of UTF-8 without control characters", MaxKey)
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." {
			return ErrFileInvalid.Detailf("its path: %q: put names between the slashes, other than . and ..", path)
		}
	}
	if _, _, err := mime.ParseMediaType(kind); (kind != "" && err != nil) || len(kind) > MaxKey {
		return ErrFileInvalid.Detailf("its content type: %q is none; use one such as image/jpeg", kind)
	}
	return nil
}

// Errors about files.
var (
	ErrFileNotFound = &Error{Code: CodeNotFound, Type: "file-not-found", Title: "There is no such file"}
	ErrFileInvalid  = &Error{Code: CodeUnprocessable, Type: "file-invalid", Title: "The file is not valid"}
	ErrFileTooLarge = &Error{Code: CodeTooLarge, Type: "file-too-large", Title: "The file is too large"}
	ErrFileDigest   = &Error{Code: CodeUnprocessable, Type: "digest-mismatch", Title: "The content is not what was announced", Detail: "Its SHA-256 differs. Nothing was stored; send it again."}
	ErrFileLost     = &Error{Code: CodeGone, Type: "file-lost", Title: "The content of the file is gone from the disk", Detail: "Write the file again, or restore a backup."}
)
