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
