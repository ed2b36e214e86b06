package api

// Secret is a secret without its value, which no answer contains.
type Secret struct {
	Name      string `json:"name"`
	UpdatedAt Time   `json:"updated_at"`
}

// Secrets is a list of secrets.
type Secrets struct {
	Secrets []Secret `json:"secrets"`
}

// SecretValue sets a secret.
type SecretValue struct {
	Value string `json:"value"`
}
