package api

// App is an app.
type App struct {
	Name           string   `json:"name"`
	Description    string   `json:"description"`
	AllowedOrigins []string `json:"allowed_origins"`
	CreatedAt      Time     `json:"created_at"`
	UpdatedAt      Time     `json:"updated_at"`

	Usage *AppUsage `json:"usage,omitempty"` // of one app that is shown
}

// AppUsage is what an app keeps, and what it may.
type AppUsage struct {
	Data            Amount `json:"data"`              // key-value pairs, documents and files
	Results         Amount `json:"results"`           // of requests of callers with a key that are answered later
	Anonymous       Amount `json:"anonymous_results"` // the same of anonymous callers
	IdempotencyKeys Amount `json:"idempotency_keys"`  // of the present period of 24 hours
	TopicNames      Amount `json:"topic_names"`       // of topics that have events and are not registered
	Scripts         Amount `json:"scripts"`           // with their versions
	Runs            Amount `json:"runs"`              // records of runs
	DeadLetters     Amount `json:"dead_letters"`
	LettersDropped  int64  `json:"dead_letters_dropped"` // that had to make room for those that are there
}

// Amount is a number of items and their bytes, and what there may be; 0: no limit, or
// not counted.
type Amount struct {
	Items    int64 `json:"items"`
	MaxItems int64 `json:"max_items"`
	Bytes    int64 `json:"bytes"`
	MaxBytes int64 `json:"max_bytes"`
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
