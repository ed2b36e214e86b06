package picloud

import "time"

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
	Cause     Cause
}

// Errors about files.
var (
	ErrFileNotFound = &Error{Code: CodeNotFound, Type: "file-not-found", Title: "There is no such file"}
	ErrFileInvalid  = &Error{Code: CodeUnprocessable, Type: "file-invalid", Title: "The file is not valid"}
	ErrFileTooLarge = &Error{Code: CodeTooLarge, Type: "file-too-large", Title: "The file is too large"}
	ErrFileDigest   = &Error{Code: CodeUnprocessable, Type: "digest-mismatch", Title: "The content is not what was announced", Detail: "Its SHA-256 differs. Nothing was stored; send it again."}
	ErrFileDamaged  = &Error{Code: CodeGone, Type: "file-damaged", Title: "The content of the file is damaged", Detail: "Write the file again, or restore a backup."}
	ErrFileLost     = &Error{Code: CodeGone, Type: "file-lost", Title: "The content of the file is gone from the disk", Detail: "Write the file again, or restore a backup."}
)
