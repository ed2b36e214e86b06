package pgsync

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// jsonText is a JSON value as the tables have it: in jsonb, which can be asked, unless
// that does not take it; and beside it as it is, unless jsonb gives back the same bytes.
type jsonText struct {
	jsonb *string // nil: jsonb does not take it
	exact *string // nil: jsonb gives it back as it is
}

// asJSON returns how JSON is kept.
func asJSON(data []byte) (t jsonText) {
	text := string(data)
	s := jsonScan{text: text, held: true, same: true}
	s.value()
	s.space()
	if s.at != len(text) || s.broken {
		s.held, s.same = false, false
	}
	if s.held {
		t.jsonb = &text
	}
	if !s.held || !s.same {
		t.exact = &text
	}
	return t
}

// Limits of numbers that are put into jsonb. It takes larger ones, and writes out all
// their digits: 1e131071 becomes 128 KiB when it is read.
const (
	maxExponent = 308
	maxDigits   = 1000
)

// jsonScan walks through JSON.
type jsonScan struct {
	text   string
	at     int
	held   bool // jsonb takes it
	same   bool // jsonb gives back the same bytes, once they are compact
	broken bool // it is no JSON
}

// space passes over what stands between tokens, of which nodes keep nothing.
func (s *jsonScan) space() {
	for s.at < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.at]) >= 0 {
		s.at++
		s.same = false
	}
}

// next returns the byte that the next token begins with; 0: there is none.
func (s *jsonScan) next() byte {
	s.space()
	return s.char()
}

// char returns the byte that comes next; 0: there is none.
func (s *jsonScan) char() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	s.broken = true
	return 0
}

func (s *jsonScan) value() {
	switch s.next() {
	case '{':
		s.object()
	case '[':
		s.list(']', s.value)
	case '"':
		s.string()
	case 't', 'n':
		s.at += len("true")
	case 'f':
		s.at += len("false")
	default:
		s.number()
	}
}

// list walks through what stands between brackets.
func (s *jsonScan) list(end byte, item func()) {
	s.at++
	if s.next() == end {
		s.at++
		return
	}
	for !s.broken {
		item()
		switch s.next() {
		case ',':
			s.at++
		case end:
			s.at++
			return
		default:
			s.broken = true
		}
	}
}

// object walks through an object. jsonb sorts names by length, then by bytes, and of
// those that stand twice it keeps the last.
func (s *jsonScan) object() {
	before, first := "", true
	s.list('}', func() {
		name := s.string()
		s.same = s.same && (first || len(before) < len(name) || len(before) == len(name) && before < name)
		before, first = name, false
		if s.next() != ':' {
			s.broken = true
		}
		s.at++
		s.value()
	})
}

// string returns what stands between the quotes. A name with an escape may be sorted
// otherwise than it is written.
func (s *jsonScan) string() string {
	if s.next() != '"' {
		s.broken = true
		return ""
	}
	s.at++
	begin, escaped := s.at, false
	for s.char() != '"' {
		if s.broken {
			return ""
		}
		if s.text[s.at] == '\\' {
			escaped = true
			s.escape()
		} else {
			s.at++
		}
	}
	s.at++
	end := s.at - 1
	if s.space(); escaped && s.at < len(s.text) && s.text[s.at] == ':' {
		s.same = false
	}
	return s.text[begin:end]
}

// escape walks through an escape. jsonb writes those that it must, the short ones
// where there are such.
func (s *jsonScan) escape() {
	s.at++
	switch s.char() {
	case '"', '\\', 'b', 'f', 'n', 'r', 't':
		s.at++
		return
	case 'u':
	default:
		s.same = false
		s.at++
		return
	}
	code, digits := s.unit()
	switch {
	case code == 0:
		s.held = false
	case code >= 0xd800 && code < 0xdc00:
		s.same = false
		if low := (&jsonScan{text: s.text, at: s.at + 1}); len(s.text) < s.at+6 || s.text[s.at:s.at+2] != `\u` || !low.isLow() {
			s.held = false
			return
		}
		s.at += 6
	case code >= 0xdc00 && code < 0xe000:
		s.held = false
	case code >= 0x20, code == '\b', code == '\t', code == '\n', code == '\f', code == '\r', digits != hex.EncodeToString([]byte{0, byte(code)}):
		s.same = false
	}
}

// unit reads the four digits behind \u, at which the scan stands.
func (s *jsonScan) unit() (code uint64, digits string) {
	if len(s.text) < s.at+5 {
		s.broken = true
		s.at = len(s.text)
		return 0, ""
	}
	digits = s.text[s.at+1 : s.at+5]
	code, err := strconv.ParseUint(digits, 16, 16)
	s.broken = s.broken || err != nil
	s.at += 5
	return code, digits
}

// isLow reports whether the second half of a surrogate pair comes.
func (s *jsonScan) isLow() bool {
	code, _ := s.unit()
	return !s.broken && code >= 0xdc00 && code < 0xe000
}

// number walks through a number. jsonb keeps all its digits, writes out the exponent,
// and knows no zero below zero.
func (s *jsonScan) number() {
	begin, exponent, zero := s.at, 0, true
scan:
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; c {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			break scan
		case 'e', 'E':
			exponent = s.at + 1
		default:
			zero = zero && (exponent > 0 || c < '1' || c > '9')
		}
	}
	if s.at == begin {
		s.broken = true
		return
	}
	if zero && s.text[begin] == '-' {
		s.same = false
	}
	if s.at-begin > maxDigits {
		s.held = false
	}
	if exponent > 0 {
		s.same = false
		n, err := strconv.Atoi(s.text[exponent:s.at])
		s.held = s.held && err == nil && n >= -maxExponent && n <= maxExponent
	}
}
