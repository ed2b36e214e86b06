package pgsync

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/picloud/picloud/pgsync/pgtest"
)

// PG-5: which JSON jsonb takes, and which it gives back byte for byte.
func TestAsJSON(t *testing.T) {
	t.Parallel()
	const both, onlyJSONB, onlyExact = "both", "jsonb", "exact"
	for text, want := range map[string]string{
		`null`: onlyJSONB, `true`: onlyJSONB, `"x"`: onlyJSONB, `0`: onlyJSONB, `-1.50`: onlyJSONB, `{}`: onlyJSONB, `[]`: onlyJSONB, `""`: onlyJSONB,
		`{"a":1,"b":[1,{"c":null}],"aa":"ü"}`: onlyJSONB, `"\u001f\n\"\\"`: onlyJSONB, `{"":1}`: onlyJSONB, `12345678901234567890123.10`: onlyJSONB,
		`{"b":1,"a":2}`: both, `{"aa":1,"b":2}`: both, `{"a":1,"a":2}`: both, `1e2`: both, `1E-3`: both, `-0`: both, `-0.0`: both, `"\u00e9"`: both, `"\/"`: both,
		`"\u001F"`: both, `"\u000a"`: both, `"\ud83d\ude00"`: both, `{"\u0041":1}`: both, `{"a\n":1}`: both, `[ 1 ]`: both, ` 1`: both,
		`"\u0000"`: onlyExact, `{"a\u0000":1}`: onlyExact, `"\ud800"`: onlyExact, `"\ude00\ud83d"`: onlyExact, `"\ud800x"`: onlyExact, `"\ud83d\ud83d"`: onlyExact, `"\udc00"`: onlyExact,
		`1e200000`: onlyExact, `1e309`: onlyExact, `1e-400`: onlyExact, `[0,1e99999999999999999999]`: onlyExact, strings.Repeat("9", 2000): onlyExact,
		``: onlyExact, `{`: onlyExact, `[1`: onlyExact, `{"a"`: onlyExact, `"\u12`: onlyExact, `"\`: onlyExact, `1 2`: onlyExact, `[,]`: onlyExact,
	} {
		got := asJSON([]byte(text))
		is := map[[2]bool]string{{true, true}: both, {true, false}: onlyJSONB, {false, true}: onlyExact}[[2]bool{got.jsonb != nil, got.exact != nil}]
		if is != want {
			t.Errorf("%s is kept as %q, want %q", text, is, want)
		}
	}
}

// PG-5: what is put into jsonb is taken, and where the exact text is left out, jsonb
// gives it back byte for byte.
func TestJSONBKeepsWhatAsJSONSays(t *testing.T) {
	t.Parallel()
	conn := pgtest.Connect(t, pgtest.Database(t))
	defer conn.Close(t.Context())
	r := rand.New(rand.NewPCG(1, 2))
	kept, same := 0, 0
	for range 3000 {
		text := randomJSON(r, 3)
		if !json.Valid([]byte(text)) {
			t.Fatalf("%s is no JSON", text)
		}
		form := asJSON([]byte(text))
		if form.jsonb == nil {
			continue
		}
		kept++
		var back string
		if err := conn.QueryRow(t.Context(), "SELECT $1::text::jsonb::text", text).Scan(&back); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var b bytes.Buffer
		if err := json.Compact(&b, []byte(back)); err != nil {
			t.Fatal(err)
		}
		if form.exact == nil {
			same++
			if b.String() != text {
				t.Fatalf("%s comes back as %s", text, b.String())
			}
		}
	}
	if kept < 500 || same < 200 {
		t.Errorf("of 3000 values %d were put into jsonb, and %d into nothing else", kept, same)
	}
}

func randomJSON(r *rand.Rand, depth int) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	word := func() string {
		var b strings.Builder
		for range r.IntN(4) {
			b.WriteString(pick("a", "b", "ab", "ü", "😀", "\u2028", "<", "/", " ", `\n`, `\"`, `\\`, `\/`, `\u001f`, `\u0041`, `\ud83d\ude00`, pick("a", `\u0000`, `\ud800`), "\x7f"))
		}
		return b.String()
	}
	switch n := r.IntN(8); {
	case n < 2 && depth > 0:
		var items []string
		for range r.IntN(4) {
			items = append(items, fmt.Sprintf(`"%s":%s`, word(), randomJSON(r, depth-1)))
		}
		return "{" + strings.Join(items, ",") + "}"
	case n < 3 && depth > 0:
		var items []string
		for range r.IntN(4) {
			items = append(items, randomJSON(r, depth-1))
		}
		return "[" + strings.Join(items, ",") + "]"
	case n < 5:
		return `"` + word() + `"`
	case n < 7:
		number := pick("", "-") + pick("0", "1", "10", "123456789012345678901234567890") + pick("", ".0", ".50", ".000000000000000000001")
		return number + pick("", "", "", "e2", "E-7", "e308", pick("", "e400"))
	}
	return pick("null", "true", "false")
}

// What is read from the journal is scanned whatever it is.
func FuzzAsJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,"\u0000"]}`, `"\ud83d\ude00"`, `-0.0e-7`, `{"`, `[[[`, `"\u`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		form := asJSON(b)
		if form.jsonb == nil && form.exact == nil || form.jsonb != nil && *form.jsonb != string(b) || form.exact != nil && *form.exact != string(b) {
			t.Errorf("%q is kept as %v", b, form)
		}
		var compact bytes.Buffer
		if json.Compact(&compact, b) == nil && form.exact == nil && compact.String() != string(b) {
			t.Errorf("%q is left out, and is not compact", b)
		}
	})
}
