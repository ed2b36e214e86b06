package api

// App is an app.
type App struct {
	Name           string   `json:"name"`
	Description    string   `json:"description"`
	AllowedOrigins []string `json:"allowed_origins"`
	CreatedAt      Time     `json:"created_at"`
	UpdatedAt      Time     `json:"updated_at"`
}

// Apps is a list of apps.
type Apps struct {
	Apps []App `json:"apps"`
}

// NewApp creates an app.
type NewApp struct {
	Name           string   `json:"name"`
	Description    string   `json:"description,omitempty"`
	AllowedOrigins []string `json:"allowed_origins,omitempty"`
}

// AppPatch changes the fields of an app that are not nil.
type AppPatch struct {
	Description    *string   `json:"description,omitempty"`
	AllowedOrigins *[]string `json:"allowed_origins,omitempty"`
}
