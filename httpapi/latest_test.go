package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/picloud/picloud/api"
)

// RT-4, RT-6: the hello frame says where to resume, and a topic in latest brings
// its newest event first while the others resume after the cursor, by header or
// by query.
func TestLatestBesideACursor(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	var ids []string
	for i, topic := range []string{"joins", "joins", "old", "old", "joins", "old"} {
		var p api.Published
		a := n.ask(t, "POST", "/v1/apps/default/topics/"+topic+"/events", n.admin, fmt.Sprint(i))
		if err := json.Unmarshal(a.body, &p); err != nil {
			t.Fatalf("%d %s", a.status, a.body)
		}
		ids = append(ids, p.ID)
	}
	const path = "/v1/apps/default/events?topic=old&topic=joins"
	for name, c := range map[string]struct {
		query, header string
		resume        string
		want          []int
		front         int // the event that comes without an id of its own
	}{
		"header":            {"&latest=joins", "Last-Event-ID: " + ids[4], ids[4], []int{4, 5}, 4},
		"newest after it":   {"&latest=joins", "Last-Event-ID: " + ids[2], ids[2], []int{3, 4, 5}, -1},
		"query":             {"&latest=joins&last_event_id=" + ids[4], "X: y", ids[4], []int{4, 5}, 4},
		"since an id":       {"&latest=joins&latest=joins&since=" + ids[5], "X: y", ids[5], []int{4}, 4},
		"no cursor":         {"&latest=old", "X: y", ids[5], []int{5}, -1},
		"since latest":      {"&since=latest", "X: y", ids[5], []int{4, 5}, -1},
		"header and latest": {"&since=latest", "Last-Event-ID: " + ids[4], ids[4], []int{5}, -1},
		"all":               {"&since=all&latest=joins", "X: y", strings.Split(ids[0], ".")[0] + ".0", []int{0, 1, 2, 3, 4, 5}, -1},
	} {
		r := n.sse(t, path+c.query, "Authorization: Bearer "+n.admin, c.header)
		if f := frame(t, r); !strings.HasPrefix(f, "retry: ") || !strings.Contains(f, fmt.Sprintf("%q:%q", "resume", c.resume)) {
			t.Errorf("%s: begins with %q, want to resume at %s", name, f, c.resume)
		}
		for _, i := range c.want {
			f := frame(t, r)
			front := strings.HasPrefix(f, "data: ") && strings.HasSuffix(f, fmt.Sprintf(",%q:%q}\n\n", "id", ids[i])) // of a stream that resumes
			if !front && !strings.HasPrefix(f, "id: "+ids[i]+"\n") || front != (c.front == i) {
				t.Errorf("%s: got %q, want event %d", name, f, i)
			}
		}
	}
}
