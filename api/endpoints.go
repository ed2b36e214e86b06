package api

// Endpoint is an address at which a script answers HTTP requests.
type Endpoint struct {
	Name string `json:"name"`
	EndpointSpec
	CreatedAt Time `json:"created_at"`
	UpdatedAt Time `json:"updated_at"`
}

// Endpoints is a list of endpoints.
type Endpoints struct {
	Endpoints []Endpoint `json:"endpoints"`
}

// Later acknowledges a request that is answered later (RFC 7240).
type Later struct {
	ID     string `json:"id"`
	State  string `json:"state"`
	Result string `json:"result"` // the address of the answer
}
