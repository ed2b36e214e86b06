package pathpattern_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud/pathpattern"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, names := range map[string][]string{
		"/": nil, "/orders": nil, "/orders/": nil, "/a//b": nil, "/v1/openapi.json": nil, "/ä": nil, "/...": nil,
		"/orders/{id}": {"id"}, "/{a}/x/{b-1}": {"a", "b-1"}, "/static/{rest...}": {"rest"}, "/{a}/{_b.c...}": {"a", "_b.c"},
		"/{" + strings.Repeat("x", 64) + "}": {strings.Repeat("x", 64)},
	} {
		p, err := pathpattern.Parse(text)
		if err != nil || p.String() != text || !slices.Equal(p.Names(), names) {
			t.Errorf("%q: %v with the parameters %q, %v", text, p, p.Names(), err)
		}
	}
	for text, says := range map[string]string{
		"": "'/'", "orders": "'/'", "/a/..": `".."`, "/.": `"."`, "/a b": "plain text", "/a%20b": "plain text", "/a?b": "plain text", "/a#b": "plain text",
		"/{": "plain text", "/}": "plain text", "/x{id}": "plain text", "/{id}x": "plain text", "/{{id}": "1 to 64",
		"/{}": "1 to 64", "/{...}": "1 to 64", "/{-a}": "1 to 64", "/{a b}": "1 to 64", "/{ä}": "1 to 64", "/{" + strings.Repeat("x", 65) + "}": "1 to 64",
		"/{a}/{a}": "its own", "/{a}/{a...}": "its own", "/{rest...}/x": `"{rest...}" can only be at the end`, "/{a...}/{b...}": "at the end",
	} {
		if p, err := pathpattern.Parse(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: read as %v with %q, %v; want the error to say %q", text, p, p.Names(), err, says)
		}
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	type params = []pathpattern.Param
	for _, c := range []struct {
		pattern, path string
		want          params
		ok            bool
	}{
		{"/", "/", nil, true},
		{"/", "/a", nil, false},
		{"/orders", "/orders", nil, true},
		{"/orders", "/orders/", nil, false},
		{"/orders", "/%6frders", nil, true},
		{"/orders/{id}", "/orders/7", params{{"id", "7"}}, true},
		{"/orders/{id}", "/orders/", nil, false},
		{"/orders/{id}", "/orders", nil, false},
		{"/orders/{id}", "/orders/7/8", nil, false},
		{"/orders/{id}", "/orders/a%2Fb", params{{"id", "a/b"}}, true},
		{"/orders/{id}/lines/{n}", "/orders/a%20b/lines/%C3%A4", params{{"id", "a b"}, {"n", "ä"}}, true},
		{"/static/{rest...}", "/static/css/a.css", params{{"rest", "css/a.css"}}, true},
		{"/static/{rest...}", "/static/a%2Fb//c", params{{"rest", "a/b//c"}}, true},
		{"/static/{rest...}", "/static/", params{{"rest", ""}}, true},
		{"/static/{rest...}", "/static", nil, false},
		{"/a//b", "/a//b", nil, true},
		{"/a//b", "/a/b", nil, false},
	} {
		segments, err := pathpattern.Split(c.path)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := pathpattern.MustParse(c.pattern).Match(segments)
		if diff := cmp.Diff(c.want, got); ok != c.ok || diff != "" {
			t.Errorf("%s at %s: %v %s", c.pattern, c.path, ok, diff)
		}
	}
	for _, path := range []string{"", "a", "/%", "/%zz", "/a/%f"} {
		if segments, err := pathpattern.Split(path); err == nil {
			t.Errorf("%q is split into %q", path, segments)
		}
	}
}

func TestSameShape(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"/orders/{id}", "/orders/{order}", true},
		{"/s/{rest...}", "/s/{path...}", true},
		{"/orders", "/orders", true},
		{"/orders", "/order", false},
		{"/orders/{id}", "/orders/id", false},
		{"/orders/{id}", "/orders/{id...}", false},
		{"/orders/{id}", "/orders/{id}/lines", false},
		{"/orders/{", "/orders/{", false},
	} {
		if pathpattern.SameShape(c.a, c.b) != c.same || pathpattern.SameShape(c.b, c.a) != c.same {
			t.Errorf("%s and %s: want %v", c.a, c.b, c.same)
		}
	}
}

// Each pattern is preferred to all that follow.
func TestCompare(t *testing.T) {
	t.Parallel()
	var list []pathpattern.Pattern
	for _, text := range []string{"/a/b/c", "/a/b/{x}", "/a/b/{x...}", "/a/{x}/c", "/a/{x}/{y}", "/a/{x...}", "/{x}/b/c", "/{x...}"} {
		list = append(list, pathpattern.MustParse(text))
	}
	for i, a := range list {
		if a.Compare(a) != 0 {
			t.Errorf("%s is not equal to itself", a)
		}
		for _, b := range list[i+1:] {
			if a.Compare(b) >= 0 || b.Compare(a) <= 0 {
				t.Errorf("%s is not preferred to %s", a, b)
			}
		}
	}
}

// Whatever is parsed matches a path made of its own segments, with the parameters that
// were put in, and no path makes Match panic.
func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{{"/", "/"}, {"/orders/{id}", "/orders/a%2Fb"}, {"/s/{rest...}", "/s/a/b"}, {"/{a}/{b...}", "/%zz"}, {"/{a", "//"}, {"/a/../b", "a"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		p, err := pathpattern.Parse(text)
		if err != nil {
			return
		}
		if n, _ := p.Len(); n != strings.Count(text, "/") {
			t.Fatalf("%q has %d segments", text, n)
		}
		own := text
		var want []pathpattern.Param
		for _, name := range p.Names() {
			value := "value/of ä " + name
			own = strings.NewReplacer("{"+name+"}", url.PathEscape(value), "{"+name+"...}", url.PathEscape(value)).Replace(own)
			want = append(want, pathpattern.Param{Name: name, Value: value})
		}
		segments, err := pathpattern.Split(own)
		if err != nil {
			t.Fatalf("%q: %v", own, err)
		}
		if got, ok := p.Match(segments); !ok || !slices.Equal(got, want) {
			t.Fatalf("%q at %q: %v %v, want %v", text, own, got, ok, want)
		}
		if segments, err = pathpattern.Split(path); err == nil {
			if got, ok := p.Match(segments); ok && len(got) != len(want) {
				t.Fatalf("%q at %q: %v", text, path, got)
			}
		}
	})
}
