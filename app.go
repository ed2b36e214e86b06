package picloud

import (
	"slices"
	"time"
)

// App is a tenant: everything on a node belongs to one app.
type App struct {
	Name           string    `json:"name"`
	Description    string    `json:"description"`
	AllowedOrigins []string  `json:"allowed_origins"` // for CORS; empty: same origin only
	CreatedAt      time.Time `json:"created_at"`
	UpdatedAt      time.Time `json:"updated_at"`
}

// AppPatch changes the fields of an App that are not nil.
type AppPatch struct {
	Description    *string   `json:"description"`
	AllowedOrigins *[]string `json:"allowed_origins"`
}

// Apply returns a with the patch applied.
func (p AppPatch) Apply(a App) App {
	if p.Description != nil {
		a.Description = *p.Description
	}
	if p.AllowedOrigins != nil {
		a.AllowedOrigins = slices.Clone(*p.AllowedOrigins)
	}
	return a
}

// Limits of descriptive text and lists.
const (
	MaxDescription = 1024 // bytes
	MaxOrigins     = 32
)

// Usage is what an app keeps, and what it may.
type Usage struct {
	App             string
	Data            Amount // key-value pairs, documents and files
	Results         Amount // of requests of callers with a key that are answered later, waiting ones included
	Anonymous       Amount // the same of anonymous callers
	Scripts         Amount // with their versions
	Runs            Amount // records of runs
	DeadLetters     Amount
	LettersDropped  int64  // dead letters that had to make room for those that are there
	IdempotencyKeys Amount // of today
	TopicNames      Amount // of topics that have events and are not registered
}

// Amount is a number of items with their bytes, and what there may be of them; a limit
// of 0 means none.
type Amount struct {
	Items, MaxItems int64
	Bytes, MaxBytes int64
}

// Percent returns how much of what there may be there is, by the limit that is nearer;
// 0 without a limit.
func (a Amount) Percent() int64 {
	var p int64
	if a.MaxItems > 0 {
		p = a.Items * 100 / a.MaxItems
	}
	if a.MaxBytes > 0 {
		p = max(p, a.Bytes*100/a.MaxBytes)
	}
	return p
}
