package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/daemon"
)

// unpacked reads an archive and returns its files by name.
func unpacked(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // only read
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(h.Name)] = string(b)
	}
}

// write makes a file.
func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), mode); err != nil { // #nosec G306 -- the caller knows
		t.Fatal(err)
	}
}

// OP-1: no secret is in the archive, of whatever kind and wherever it was planted: in the configuration, in the
// environment, in the log, in what apps keep. What helps is there.
func TestSupportHasNoSecrets(t *testing.T) {
	dir := t.TempDir()
	planted := map[string]string{
		"database.url": "Pa55/word&one", "database.direct_url": "second-pa55word", "database.url_file": "third'pa55word", "secrets.key_file": "sixteen-random-bytes-or-more",
		"PICLOUD_RECOVERY_KEY": "pcr-abcd-efgh-ijkl-mnop-qrst-uvwx-yz23-4567-abcd-efgh-ijkl-mnop-qrst", "PGPASSWORD": "of-the-environment", "script secret": "s3cret-of-a-script", "event": "what-an-event-says", "value": "what-a-key-holds",
	}
	for _, part := range []string{"url user password", "url password", "url sslpassword", "url options", "url passfile", "url unknown", "dsn password", "dsn sslpassword", "dsn options", "dsn passfile", "dsn unknown"} {
		planted[part] = "geheim-" + strings.ReplaceAll(part, " ", "-") + "-17"
	}
	planted["url passfile"], planted["dsn passfile"] = "/"+planted["url passfile"], "/"+planted["dsn passfile"]
	write(t, filepath.Join(dir, "url"), fmt.Sprintf("host=127.0.0.1 port=1 user=u password='third\\'pa55word' dbname=d sslpassword=%s options='-c app.password=%s -c a=b' passfile=%s custom_secret='%s' password = %s\n",
		planted["dsn sslpassword"], planted["dsn options"], planted["dsn passfile"], planted["dsn unknown"], planted["dsn password"]), 0o600)
	write(t, filepath.Join(dir, "key"), planted["secrets.key_file"], 0o600)
	file := filepath.Join(dir, "picloud.toml")
	write(t, file, strings.Join([]string{
		`database.url = "postgres://u:` + url.QueryEscape(planted["database.url"]) + `@127.0.0.1:1/d?sslmode=disable&password=` + planted["url password"] +
			`&sslpassword=` + planted["url sslpassword"] + `&options=-c%20app.token%3D` + planted["url options"] + `&passfile=` + planted["url passfile"] + `&app.secret=` + planted["url unknown"] + `"`,
		`database.direct_url = "postgres://u:` + planted["url user password"] + `@127.0.0.1:1/d?password=` + planted["database.direct_url"] + `"`,
		`database.url_file = "` + filepath.Join(dir, "url") + `"`,
		`secrets.key_file = "` + filepath.Join(dir, "key") + `"`,
	}, "\n"), 0o600)

	cfg := newConfig(t)
	loaded, err := daemon.Load(daemon.Source{File: file})
	if err != nil {
		t.Fatal(err)
	}
	loaded.Data, loaded.Listen = cfg.Data, cfg.Listen
	t.Cleanup(runNode(t, loaded))
	var key api.CreatedKey
	if err := json.Unmarshal([]byte(ok(t, cfg, "keys", "create", "--scope", "instance:admin", "--instance", "--json")), &key); err != nil {
		t.Fatal(err)
	}
	planted["API key"] = key.Text
	ok(t, cfg, "topics", "create", "door", "--external")
	var token api.Token
	if err := json.Unmarshal([]byte(ok(t, cfg, "tokens", "mint", "door", "--json")), &token); err != nil {
		t.Fatal(err)
	}
	planted["token"] = token.Token
	planted["recovery key"] = strings.TrimSpace(ok(t, cfg, "recovery-key"))
	if _, errOut, code := do(t, cfg, planted["script secret"]+"\n", "secrets", "set", "mail"); code != 0 {
		t.Fatal(errOut)
	}
	ok(t, cfg, "publish", "door", `"`+planted["event"]+`"`)
	ok(t, cfg, "kv", "set", "k", `"`+planted["value"]+`"`)

	// A journal that has all of them in its lines, but for what never gets near a log.
	var log strings.Builder
	for name, secret := range planted {
		if name != "script secret" && name != "event" && name != "value" {
			log.WriteString("error text=" + secret + " url=" + url.QueryEscape(secret) + "\n")
		}
	}
	log.WriteString("Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+key.Text)) + "\nthe last line\n")
	write(t, filepath.Join(dir, "lines"), log.String(), 0o600)
	write(t, filepath.Join(dir, "journalctl"), "#!/bin/sh\nexec cat '"+filepath.Join(dir, "lines")+"'\n", 0o700)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("PICLOUD_KEY", key.Text)
	t.Setenv("PGPASSWORD", planted["PGPASSWORD"])
	t.Setenv("PICLOUD_RECOVERY_KEY", planted["PICLOUD_RECOVERY_KEY"])

	archive := filepath.Join(t.TempDir(), "s.tar.gz")
	out := ok(t, cfg, "--config", file, "support", archive)
	if !strings.Contains(out, "before you send it") {
		t.Errorf("it says %q", out)
	}
	if info, err := os.Stat(archive); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the archive is %v, %v", info.Mode(), err)
	}
	files := unpacked(t, archive)
	for name, says := range map[string]string{
		"version.json": version, "config.txt": "database.url", "doctor.json": "postgres", "node.json": `"journal_bytes"`, "board.json": "celsius", "sync.json": `"state"`, "incidents.json": "incidents",
		"metrics.txt": "picloud_", "log.txt": "the last line", "system.txt": "MemTotal", "data.txt": "journal/", "header.json": "pins", "sensors.json": "sensors", "verify.json": "running",
	} {
		if !strings.Contains(files[name], says) {
			t.Errorf("%s lacks %q: %.300s", name, says, files[name])
		}
	}
	for kind, secret := range planted {
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), strings.ToUpper(secret), base64.StdEncoding.EncodeToString([]byte(secret))} {
			for name, text := range files {
				if strings.Contains(text, form) {
					t.Errorf("%s has the %s, as %q", name, kind, form)
				}
			}
		}
	}
}

// What reads like a secret is taken out, whether it is known or not, and the rest stays.
func TestRedact(t *testing.T) {
	t.Parallel()
	r := newRedactor("geheim/1", "abc")
	for text, want := range map[string]string{
		"x=geheim/1 y=geheim%2F1 abc":                                     "x=REDACTED y=REDACTED abc",
		"key pck_ab12cd34ef_xyz ok":                                       "key REDACTED ok",
		"postgres://u:pw@host/db?sslmode=disable":                         "postgres://u:REDACTED@host/db?sslmode=disable",
		"host=h password='a b' user=u":                                    "host=h password='REDACTED' user=u",
		`{"token":"abcdefgh","name":"x"}`:                                 `{"token":"REDACTED","name":"x"}`,
		"Authorization: Bearer abc.def":                                   "Authorization: Bearer REDACTED",
		`"Authorization":"Basic geheim"`:                                  `"Authorization":"REDACTED"`,
		"authorization=geheim x Authorization: aB3x":                      "authorization=REDACTED x Authorization: REDACTED",
		"sent Bearer dTpwYXNzd29yZA== there":                              "sent Bearer REDACTED there",
		"basic auth with basic dTpw0w, and more":                          "basic auth with basic REDACTED, and more",
		"password: hunter2, token: aB3 secret:geheim":                     "password: REDACTED, token: REDACTED secret:REDACTED",
		"passfile=/root/x sslpassword=geheim":                             "passfile=REDACTED sslpassword=REDACTED",
		"pcr-abcd-efgh-ijkl-mnop-qrst-uvwx-yz23 end":                      "REDACTED end",
		"eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2ln end":                        "REDACTED end",
		"a -----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY----- b": "a REDACTED b",
		"http://192.168.1.2:7420/v1/node":                                 "http://192.168.1.2:7420/v1/node",
		"the tokens of 12 subscribers":                                    "the tokens of 12 subscribers",
	} {
		if got := r.redact(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// The archive is written where it is needed most: without a node, and with a configuration that cannot be read.
func TestSupportWithoutANode(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "picloud.toml")
	write(t, file, "lisen = \"x\"\n", 0o600)
	for _, args := range [][]string{nil, {"--config", file}} {
		archive := filepath.Join(t.TempDir(), "s.tar.gz")
		_, errOut, code := do(t, daemon.Config{Data: t.TempDir()}, "", append(args, "support", archive)...)
		if code != 0 || !strings.Contains(errOut, "node.json: no node answers") {
			t.Fatalf("%d: %s", code, errOut)
		}
		files := unpacked(t, archive)
		if !strings.Contains(files["node.json"], "no node answers") || !strings.Contains(files["doctor.json"], "fix") {
			t.Errorf("node %q, doctor %q", files["node.json"], files["doctor.json"])
		}
		if slices.Contains(args, "--config") && !strings.Contains(files["config.txt"], "unknown setting") {
			t.Errorf("config %q", files["config.txt"])
		}
	}
}

// OP-1: what the program says to people is not taken for a secret: every text in its source stays as it is.
func TestRedactLeavesAdvice(t *testing.T) {
	t.Parallel()
	r := newRedactor()
	unchanged := func(where, text string) {
		if got := r.redact(text); got != text {
			t.Errorf("%s: %q became %q", where, text, got)
		}
	}
	for _, text := range []string{
		"serve it behind basic auth, and use a Bearer token elsewhere", "Basic authentication is off", "postgres.advice: wrong password: check database.url",
		"picloud.toml:3: subscriber_token: the default (1h) must lie between the others", "the bearer of a token: ask for another",
	} {
		unchanged("the test", text)
	}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != "../.." && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "e2e" || name == "pgtest") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			if text, err := strconv.Unquote(lit.Value); err == nil && strings.Contains(text, " ") {
				unchanged(path, strings.ReplaceAll(text, "user:password@", "")) // an example of a URL
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
