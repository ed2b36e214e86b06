package httpapi_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

// spoil flips a bit of the newest content in a node's directory.
func (n *node) spoil(t *testing.T) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(n.store.FilesDir(), "*"))
	if err != nil || len(paths) != 1 {
		t.Fatal(paths, err)
	}
	b, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(paths[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// FI-1, DM-3: a client does not take a damaged file for a whole one, and the rest of the
// node serves on.
func TestDamagedFileEndsEarly(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 10, "large": 3_000_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			if a := n.ask(t, "PUT", filesPath+"f", n.admin, strings.Repeat("x", size), "Content-Type", "text/plain"); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			n.spoil(t)
			req, err := http.NewRequestWithContext(t.Context(), "GET", n.url+filesPath+"f", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+n.admin)
			res, err := http.DefaultClient.Do(req)
			if err == nil {
				var b []byte
				b, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
				if len(b) >= size {
					t.Errorf("all %d bytes came", len(b))
				}
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
				t.Errorf("the answer ended with %v", err)
			}
			if a := n.ask(t, "GET", filesPath+"f", n.admin, "", "Range", "bytes=0-3"); a.status != 206 || string(a.body) != "xxxx" {
				t.Errorf("a part: %d %s", a.status, a.body)
			}
		})
	}
}

// DM-5, DM-9: a look finds damage; it is an incident for those who may see the node, until
// one who manages it has acknowledged it.
func TestVerifyAndIncidents(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	read, app := n.key(t, "", picloud.ScopeInstanceRead), n.key(t, "default", picloud.ScopeAppAdmin)
	n.ask(t, "PUT", filesPath+"f", n.admin, "content", "Content-Type", "text/plain")
	verify := func() (v api.Verification) {
		t.Helper()
		a := n.ask(t, "POST", "/v1/verify", n.admin, "")
		for v.Running = true; v.Running; a = n.ask(t, "GET", "/v1/verify", read, "") {
			v = api.Verification{}
			if err := json.Unmarshal(a.body, &v); err != nil || a.status > 202 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		return v
	}
	incidents := func() []api.Incident {
		t.Helper()
		var b api.Incidents
		a := n.ask(t, "GET", "/v1/incidents", read, "")
		if err := json.Unmarshal(a.body, &b); err != nil || a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return b.Incidents
	}
	if v := verify(); v.Damaged != 0 || v.Files != 1 || v.Records == 0 || v.Rows == 0 || v.StartedAt.IsZero() || v.EndedAt.IsZero() || v.Error != "" || len(incidents()) != 0 {
		t.Errorf("sound: %+v, %+v", v, incidents())
	}
	n.spoil(t)
	if v := verify(); v.Damaged != 1 {
		t.Errorf("damaged: %+v", v)
	}
	list := incidents()
	if len(list) != 1 || !strings.Contains(list[0].Text, `"f"`) || !list[0].AcknowledgedAt.IsZero() {
		t.Fatalf("incidents %+v", list)
	}
	for _, c := range []struct {
		method, path, key, body string
		status                  int
		want                    string
	}{
		{"GET", "/v1/node", read, "", 200, "degraded"},
		{"GET", "/v1/incidents", app, "", 403, ""},
		{"GET", "/v1/verify", app, "", 403, ""},
		{"POST", "/v1/verify", read, "", 403, ""},
		{"POST", "/v1/incidents/ack", read, `{"all":true}`, 403, ""},
		{"POST", "/v1/incidents/ack", n.admin, `{}`, 400, "say which"},
		{"POST", "/v1/incidents/ack", n.admin, `{"ids":["x"],"all":true}`, 400, "say which"},
		{"POST", "/v1/incidents/ack", n.admin, `{"ids":["x"]}`, 404, "incident-not-found"},
		{"POST", "/v1/incidents/ack", n.admin, `{"ids":["` + list[0].ID + `"]}`, 200, `"count":1`},
		{"POST", "/v1/incidents/ack", n.admin, `{"all":true}`, 200, `"count":0`},
		{"GET", "/v1/node", read, "", 200, `"status":"ok"`},
		{"GET", "/v1/apps/default/topics/$node%2Fdamage/events", n.admin, "", 200, list[0].ID},
	} {
		if a := n.ask(t, c.method, c.path, c.key, c.body, "Accept", "application/json"); a.status != c.status || !strings.Contains(string(a.body), c.want) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, a.status, a.body)
		}
	}
}
