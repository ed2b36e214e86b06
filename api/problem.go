package api

// ProblemPrefix begins the type of every problem of a node.
const ProblemPrefix = "urn:picloud:problem:"

// Problem is the body of an error: a problem document (RFC 9457).
type Problem struct {
	Type       string `json:"type"` // ProblemPrefix and a stable slug
	Title      string `json:"title"`
	Status     int    `json:"status"`
	Detail     string `json:"detail,omitempty"`
	RetryAfter int    `json:"retry_after_sec,omitempty"`
	Topic      string `json:"topic,omitempty"` // the one of several topics that is refused
}
