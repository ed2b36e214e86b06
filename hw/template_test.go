package hw

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/check"
)

// HW-2: a template that cannot become the data of an event is refused, with what to do.
func TestTemplatesAreChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, text, want string }{
		{KindEdges, "", ""},
		{KindButton, "", ""},
		{KindCounter, "", ""},
		{KindEdges, `{}`, ""},
		{KindEdges, ` { "a" : [ "$on" , "$edge", {"$on": "$at"} ], "b\"" : "\"$on", "at": "$at" , "count": 1} `, ""},
		{KindEdges, `{"on":$on}`, "the template is not JSON: "},
		{KindEdges, `{"on":`, "the template is not JSON: "},
		{KindEdges, `"$on"`, "no JSON object"},
		{KindEdges, `[]`, "no JSON object"},
		{KindEdges, `null`, "no JSON object"},
		{KindEdges, `{"a":"$off"}`, `"$off", which is no variable of an input of kind "edges": there are $on, $edge, $at, $count`},
		{KindEdges, `{"a":"$total"}`, "no variable"},
		{KindCounter, `{"a":"$on"}`, "no variable"},
		{KindEdges, `{"missed":1}`, `a field "missed", which the node adds`},
		{KindEdges, `{"simulated":1}`, "the node adds"},
		{KindEdges, `{"a":"` + strings.Repeat("x", maxTemplate) + `"}`, "use at most 4096"},
	} {
		err := CheckTemplate(c.kind, c.text)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %.60s: %v, want %s", c.kind, c.text, err, c.want)
		}
	}
}

// HW-2: whatever template is accepted makes valid compact JSON, with the fields that the
// node adds.
func FuzzTemplate(f *testing.F) {
	for _, text := range []string{`{}`, `{"on":"$on"}`, `{"a\"":"$on","b":["\"","$edge\\"],"$on":"x"}`, `{"at":"$at","count":"$count"}`, `{"a":"\\","b":"$on"}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseTemplate(KindEdges, text)
		if err != nil {
			return
		}
		o := occurrence{at: time.Now(), on: true, count: 2, missed: 3, initial: true}
		data := p.append(nil, &o, true)
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(data, &fields); err != nil {
			t.Fatalf("%s makes %s: %v", text, data, err)
		}
		for _, name := range added {
			if fields[name] == nil {
				t.Errorf("%s makes %s without %s", text, data, name)
			}
		}
		var compact bytes.Buffer
		if err := check.CompactJSON(&compact, data); err != nil || !bytes.Equal(compact.Bytes(), data) {
			t.Errorf("%s makes %s: %v", text, data, err)
		}
	})
}
