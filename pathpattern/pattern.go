// Package pathpattern reads patterns of URL paths, such as /orders/{id} and
// /static/{rest...}, and matches paths against them. The routes of the HTTP
// interface and the endpoints of apps are such patterns.
//
// A pattern consists of segments between slashes. A segment is plain text, {name} for
// a parameter of one segment, or, at the end, {name...} for a parameter that takes the
// rest of the path. Paths are matched by their decoded segments: an encoded slash
// separates nothing.
//
// The package knows nothing of methods, hosts and queries, and keeps no set of
// patterns.
package pathpattern

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// maxName is the longest name of a parameter in bytes.
const maxName = 64

// Pattern is a pattern that was read by Parse. It is immutable.
type Pattern struct {
	text     string
	segments []segment
}

// kind is the kind of a segment, in the order in which segments are preferred.
type kind uint8

const (
	literal   kind = iota
	parameter      // one segment that is not empty
	rest           // any number of segments
)

type segment struct {
	kind kind
	text string // the literal, or the name of the parameter
}

// Param is a parameter of a path and its decoded value.
type Param struct{ Name, Value string }

// Parse reads a pattern. The error says which segment is wrong and what to write
// instead.
func Parse(text string) (Pattern, error) {
	if !strings.HasPrefix(text, "/") {
		return Pattern{}, errors.New("begin it with '/'")
	}
	p := Pattern{text: text, segments: make([]segment, 0, strings.Count(text, "/"))}
	for part := range strings.SplitSeq(text[1:], "/") {
		s, err := parseSegment(part)
		if err != nil {
			return Pattern{}, err
		}
		if p.takesRest() {
			return Pattern{}, fmt.Errorf("%q can only be at the end", "{"+p.segments[len(p.segments)-1].text+"...}")
		}
		if s.kind != literal && slices.ContainsFunc(p.segments, func(o segment) bool { return o.kind != literal && o.text == s.text }) {
			return Pattern{}, fmt.Errorf("%q: give each parameter a name of its own", part)
		}
		p.segments = append(p.segments, s)
	}
	return p, nil
}

// MustParse is Parse for patterns that are part of the program. It panics on an
// error.
func MustParse(text string) Pattern {
	p, err := Parse(text)
	if err != nil {
		panic(fmt.Sprintf("path pattern %q: %v", text, err))
	}
	return p
}

func parseSegment(part string) (segment, error) {
	if !strings.HasPrefix(part, "{") || !strings.HasSuffix(part, "}") {
		if strings.ContainsAny(part, "{}?#% ") || part == "." || part == ".." {
			return segment{}, fmt.Errorf("%q: use plain text, {name}, or {name...} at the end", part)
		}
		return segment{literal, part}, nil
	}
	s := segment{kind: parameter, text: part[1 : len(part)-1]}
	if name, ok := strings.CutSuffix(s.text, "..."); ok {
		s = segment{kind: rest, text: name}
	}
	if !validName(s.text) {
		return segment{}, fmt.Errorf("%q: name a parameter with 1 to %d of A-Z a-z 0-9 . _ -, beginning with a letter, a digit or _", part, maxName)
	}
	return s, nil
}

func validName(name string) bool {
	if name == "" || len(name) > maxName || name[0] == '.' || name[0] == '-' {
		return false
	}
	return !strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-'
	})
}

// String returns the text of the pattern.
func (p Pattern) String() string { return p.text }

// Len returns the number of segments, and whether the last one takes the rest of a
// path.
func (p Pattern) Len() (n int, takesRest bool) { return len(p.segments), p.takesRest() }

func (p Pattern) takesRest() bool {
	return len(p.segments) > 0 && p.segments[len(p.segments)-1].kind == rest
}

// Names returns the names of the parameters, from left to right.
func (p Pattern) Names() []string {
	var names []string
	for _, s := range p.segments {
		if s.kind != literal {
			names = append(names, s.text)
		}
	}
	return names
}

// Split returns the decoded segments of a path as it was sent. The error says what is
// wrong with the path.
func Split(path string) ([]string, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, errors.New("begin it with '/'")
	}
	segments := strings.Split(path[1:], "/")
	for i, raw := range segments {
		text, err := url.PathUnescape(raw)
		if err != nil {
			return nil, fmt.Errorf("%q is not percent-encoded correctly", raw)
		}
		segments[i] = text
	}
	return segments, nil
}

// Match returns the parameters of a path, given as the result of Split, from left to
// right; false: the path does not match. Only the parameter that takes the rest can
// be empty.
func (p Pattern) Match(segments []string) ([]Param, bool) {
	if len(segments) < len(p.segments) || len(segments) > len(p.segments) && !p.takesRest() {
		return nil, false
	}
	var params []Param
	for i, s := range p.segments {
		switch s.kind {
		case literal:
			if segments[i] != s.text {
				return nil, false
			}
		case parameter:
			if segments[i] == "" {
				return nil, false
			}
			params = append(params, Param{s.text, segments[i]})
		case rest:
			params = append(params, Param{s.text, strings.Join(segments[i:], "/")})
		}
	}
	return params, true
}

// SameShape reports whether the texts of two patterns match the same paths: they
// differ in nothing but the names of parameters. Other texts have no shape.
func SameShape(one, other string) bool {
	p, err := Parse(one)
	o, otherErr := Parse(other)
	return err == nil && otherErr == nil && slices.EqualFunc(p.segments, o.segments, func(a, b segment) bool {
		return a.kind == b.kind && (a.kind != literal || a.text == b.text)
	})
}

// Compare orders patterns by preference where both match a path: negative if p is
// preferred, positive if o is. From left to right plain text wins over a parameter,
// and a parameter over one that takes the rest.
func (p Pattern) Compare(o Pattern) int {
	for i := range min(len(p.segments), len(o.segments)) {
		if d := int(p.segments[i].kind) - int(o.segments[i].kind); d != 0 {
			return d
		}
	}
	return 0
}
