package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picloud/picloud"
)

// AU-3: an API key reaches neither a script nor the card, wherever its sender put it;
// what else is there does.
func TestAPIKeysReachNoScript(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if a := n.ask(t, "PUT", "/v1/apps/default/scripts/s", n.admin, `export default (req) => req;`, "Content-Type", "text/javascript"); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := n.ask(t, "PUT", "/v1/apps/default/endpoints/echo", n.admin, `{"script":"s","method":"*","path":"/echo/{rest...}","auth":"public"}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	key := n.key(t, "default", picloud.ScopeAppInvoke)
	secret := key[len(key)-52:]
	const marker = "planted-marker"
	for name, form := range map[string]struct {
		path    string
		headers []string
		keeps   string
	}{
		"bearer":             {"/echo/x", []string{"Authorization: Bearer " + key}, ""},
		"lower case":         {"/echo/x", []string{"authorization: bearer " + key}, ""},
		"tab":                {"/echo/x", []string{"Authorization: Bearer\t" + key}, ""},
		"token":              {"/echo/x", []string{"Authorization: Token " + key}, ""},
		"no scheme":          {"/echo/x", []string{"Authorization: " + key}, ""},
		"basic, then bearer": {"/echo/x", []string{"Authorization: Basic dXNlcjpwYXNz", "Authorization: Bearer " + key}, "Basic dXNlcjpwYXNz"},
		"basic":              {"/echo/x", []string{"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+key))}, ""},
		"key as user":        {"/echo/x", []string{"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(key+":"))}, ""},
		"quoted":             {"/echo/x", []string{`Authorization: Token token="` + key + `"`}, ""},
		"proxy":              {"/echo/x", []string{"Proxy-Authorization: Bearer " + key}, ""},
		"x-api-key":          {"/echo/x", []string{"X-Api-Key: " + key}, ""},
		"cookie":             {"/echo/x", []string{"Cookie: a=b; key=" + key + "; c=d"}, ""},
		"referer":            {"/echo/x", []string{"Referer: http://x/?key=" + key + "&z=1"}, "http://x/?key=REDACTED&z=1"},
		"header name":        {"/echo/x", []string{key + ": x"}, ""},
		"query":              {"/echo/x?key=" + key + "&other=1", nil, `"other":"1"`},
		"query, twice":       {"/echo/x?key=1&key=" + key, nil, `["1","REDACTED"]`},
		"query, encoded":     {"/echo/x?key=pck%5f" + key[4:], nil, ""},
		"query name":         {"/echo/x?" + key, nil, ""},
		"path":               {"/echo/" + key, nil, `"rest":"REDACTED"`},
		"other credential":   {"/echo/x", []string{"Authorization: Bearer of-the-app"}, "Bearer of-the-app"},
	} {
		got := n.raw(t, get("/apps/default"+form.path, form.headers...))
		if !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Errorf("%s: %s", name, got)
		}
		if !strings.Contains(got, form.keeps) {
			t.Errorf("%s: %q is missing in %s", name, form.keeps, got)
		}
		told(t, name, secret, []byte(got))
		later := n.raw(t, get("/apps/default"+form.path, append(form.headers, "Prefer: respond-async", "X-Marker: "+marker)...))
		if !strings.HasPrefix(later, "HTTP/1.1 202 ") {
			t.Errorf("%s, later: %s", name, later)
		}
	}
	found := false
	err := filepath.WalkDir(filepath.Dir(n.store.FilesDir()), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || bytes.Contains(b, []byte(marker))
		told(t, path, secret, b)
		return err
	})
	if err != nil || !found {
		t.Errorf("the requests that are answered later are not on the card: %v", err)
	}
	zipped, err := gzip.NewReader(bytes.NewReader(n.ask(t, "GET", "/v1/backup", n.admin, "").body))
	if err != nil {
		t.Fatal(err)
	}
	archive, err := io.ReadAll(zipped)
	if err != nil || !bytes.Contains(archive, []byte(marker)) {
		t.Errorf("the requests that are answered later are not in the backup: %v", err)
	}
	told(t, "backup", secret, archive)
}

// told fails a test when text holds a secret, as it is or in base64.
func told(t *testing.T, where, secret string, text []byte) {
	t.Helper()
	lower := bytes.ToLower(text)
	if bytes.Contains(lower, []byte(secret)) {
		t.Errorf("%s: the secret is there", where)
	}
	for word := range bytes.FieldsFuncSeq(text, func(c rune) bool { return c == ' ' || c == '"' || c == '\r' || c == '\n' }) {
		if b, err := base64.StdEncoding.DecodeString(string(word)); err == nil && bytes.Contains(b, []byte(secret)) {
			t.Errorf("%s: the secret is there in base64", where)
		}
	}
}

// AU-6: a script that wants to know who asks refuses as the node does, byte for byte.
func TestScriptsRefuseAsTheNodeDoes(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if a := n.ask(t, "PUT", "/v1/apps/default/scripts/s", n.admin, `import { requireCaller } from "picloud"; export default () => requireCaller();`, "Content-Type", "text/javascript"); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for name, mode := range map[string]string{"open": "public", "closed": "key"} {
		if a := n.ask(t, "PUT", "/v1/apps/default/endpoints/"+name, n.admin, `{"script":"s","path":"/`+name+`","auth":"`+mode+`"}`); a.status != 200 {
			t.Fatalf("%s: %d %s", name, a.status, a.body)
		}
	}
	for _, headers := range [][]string{nil, {"Authorization: Bearer nonsense"}, {"Authorization: Basic eDp5"}, {"Origin: https://app.example"}} {
		script, node := n.raw(t, get("/apps/default/open", headers...)), n.raw(t, get("/apps/default/closed", headers...))
		if script != node || !strings.HasPrefix(script, "HTTP/1.1 401 ") || strings.Contains(script, "Picloud-Run") {
			t.Errorf("%v: the script refuses with\n%s\nand the node with\n%s", headers, script, node)
		}
	}
}
