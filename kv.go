package picloud

import "time"

// Entry is one key of an app's key-value store.
type Entry struct {
	App       string
	Key       string
	Value     []byte // must not be changed, since readers share its bytes
	Binary    bool   // the value is any bytes; otherwise it is compact JSON
	Version   uint64 // rises with every change of the key, and when it is made again after its end
	UpdatedAt time.Time
	ExpiresAt time.Time // zero: never
}

// EntryList asks for a page of entries, in the order of the bytes of their keys.
type EntryList struct {
	App    string
	Prefix string
	After  string // the last key of the page before; empty: from the beginning
	Limit  int    // entries at most; 0: MaxPage
}

// EntryPage is a page of entries. Next is what After has to be for the following
// one; empty: there is none.
type EntryPage struct {
	Entries []Entry
	Next    string
}

// EntryChange asks for a key to be set.
type EntryChange struct {
	App, Key string
	Value    []byte
	Binary   bool
	TTL      time.Duration // 0: for ever
	If       Precondition
	Cause    Cause
}

// EntryIncrement asks for a number to be added to that of a key, which begins
// at 0.
type EntryIncrement struct {
	App, Key string
	By       int64
	TTL      time.Duration // of a key that is made by it; 0: for ever. One that exists keeps its end
	Cause    Cause
}

// Deletion asks for a key, a document or a file to be removed.
type Deletion struct {
	App       string
	Container string // the collection of a document; otherwise empty
	Name      string // the key, the id or the path
	If        Precondition
	Cause     Cause
}

// Precondition is what must be true of a thing for it to be changed. The zero
// value is always met.
type Precondition struct {
	Version uint64 // it has this version; 0: any
	Absent  bool   // it does not exist
	Present bool   // it exists
}

// Check returns nil or ErrPrecondition for a thing that has a version, 0 when it
// does not exist.
func (p Precondition) Check(version uint64) error {
	switch {
	case p.Absent && version != 0:
		return ErrPrecondition.Detailf("it exists, with version %d", version)
	case (p.Present || p.Version != 0) && version == 0:
		return ErrPrecondition.Detailf("it does not exist")
	case p.Version != 0 && p.Version != version:
		return ErrPrecondition.Detailf("its version is %d; read it again, and decide anew", version)
	}
	return nil
}

// Limits of the data services.
const (
	MaxKey         = 512     // bytes of a key
	MaxValue       = 1 << 20 // bytes of a value, and of a document
	MaxPage        = 1000    // things of one page of a list
	MaxTTL         = 10 * 365 * 24 * time.Hour
	DefaultMaxFile = 256 << 20 // bytes of a file, if nothing else is set
)

// Errors about data.
var (
	ErrKVNotFound   = &Error{Code: CodeNotFound, Type: "kv-not-found", Title: "There is no such key"}
	ErrKVKeyInvalid = &Error{Code: CodeUnprocessable, Type: "kv-key-invalid", Title: "The key is not valid"}
	ErrKVTooLarge   = &Error{Code: CodeTooLarge, Type: "kv-too-large", Title: "The value is too large"}
	ErrKVNotNumber  = &Error{Code: CodeConflict, Type: "kv-not-a-number", Title: "The value cannot be incremented", Detail: "It is not a JSON number that is exact to the last digit; set the key to a number first."}
	ErrTTLInvalid   = &Error{Code: CodeUnprocessable, Type: "ttl-invalid", Title: "The time to live is not valid"}
	ErrPrecondition = &Error{Code: CodePrecondition, Type: "precondition-failed", Title: "It is not as the request expects"}
)
