package api

// File describes a file.
type File struct {
	Path      string `json:"path"`
	Type      string `json:"type"`
	Size      int64  `json:"size"`
	SHA256    string `json:"sha256"` // hexadecimal
	Version   uint64 `json:"version"`
	CreatedAt Time   `json:"created_at"`
	UpdatedAt Time   `json:"updated_at"`
}

// Files is a page of files; Next is the address of the next page.
type Files struct {
	Files []File  `json:"files"`
	Next  *string `json:"next"`
}
