package picloud

import (
	"net/url"
	"slices"
	"time"
	"unicode/utf8"
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

// Validate returns the first fault of a as a public error.
func (a App) Validate() error {
	if err := CheckAppName(a.Name); err != nil {
		return err
	}
	if len(a.Description) > MaxDescription || !utf8.ValidString(a.Description) {
		return ErrAppInvalid.Detailf("description: use at most %d bytes of UTF-8", MaxDescription)
	}
	if len(a.AllowedOrigins) > MaxOrigins {
		return ErrAppInvalid.Detailf("allowed_origins: at most %d origins", MaxOrigins)
	}
	for i, o := range a.AllowedOrigins {
		if !validOrigin(o) {
			return ErrAppInvalid.Detailf("allowed_origins[%d]: write an origin as a browser sends it, such as https://panel.example or http://192.168.1.5:8080, or \"*\"", i)
		}
	}
	return nil
}

func validOrigin(o string) bool {
	if o == "*" {
		return true
	}
	u, err := url.Parse(o)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && o == u.Scheme+"://"+u.Host
}
