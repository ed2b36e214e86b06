package sdk_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud/sdk"
)

func TestReadResponse(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]sdk.Response{
		`{"status":200,"encoding":"json","body":{"a":1}}`:                   {Status: 200, Body: []byte("{\"a\":1}\n"), ContentType: "application/json"},
		`{"status":404,"encoding":"text","body":"ä","headers":{"x-a":"y"}}`: {Status: 404, Headers: map[string]string{"x-a": "y"}, Body: []byte("ä"), ContentType: "text/plain; charset=utf-8"},
		`{"status":200,"encoding":"base64","body":"AP8="}`:                  {Status: 200, Body: []byte{0, 255}, ContentType: "application/octet-stream"},
		`{"status":204,"encoding":"none","body":null}`:                      {Status: 204, ContentType: "text/plain; charset=utf-8"},
	} {
		got, err := sdk.ReadResponse(json.RawMessage(out))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", out, err, diff)
		}
	}
	for out, says := range map[string]string{
		`1`: "cannot be read", `{`: "cannot be read", `{"status":199}`: "status 199", `{"status":600}`: "status 600",
		`{"status":200,"encoding":"text","body":1}`:       "unmarshal",
		`{"status":200,"encoding":"base64","body":"!"}`:   "base64",
		`{"status":200,"headers":{"Content-Length":"1"}}`: "Content-Length",
		`{"status":200,"headers":{"x":"1"}}`:              `"x", which no app may set`,
		`{"status":200,"headers":{"":"1"}}`:               "header",
		`{"status":200,"headers":{"x y":"1"}}`:            "x y",
		`{"status":200,"headers":{"x":"a\r\nb: c"}}`:      `"x"`,
	} {
		if _, err := sdk.ReadResponse(json.RawMessage(out)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want it to say %q", out, err, says)
		}
		if sdk.CheckOutput(json.RawMessage(out), true) == nil || sdk.CheckOutput(json.RawMessage(out), false) != nil {
			t.Errorf("%s: only a response has to be readable", out)
		}
	}
}

// Apps share an origin with the node and with each other, and may stand behind a proxy:
// a response says things about itself alone.
func TestHeadersThatSpeakForMoreThanTheResponse(t *testing.T) {
	t.Parallel()
	read := func(name string) error {
		_, err := sdk.ReadResponse(json.RawMessage(`{"status":200,"encoding":"none","headers":{"` + name + `":"v"}}`))
		return err
	}
	for _, name := range []string{
		"Content-Type", "content-language", "Content-Disposition", "Content-Security-Policy", "Cache-Control", "ETag", "Last-Modified", "Expires", "Location",
		"Retry-After", "Link", "Vary", "Allow", "Accept-Ranges", "Access-Control-Allow-Origin", "X-Own", "x-request-id",
	} {
		if err := read(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{
		"Set-Cookie", "set-cookie2", "Service-Worker-Allowed", "Clear-Site-Data", "Alt-Svc", "Strict-Transport-Security", "Refresh", "Public-Key-Pins",
		"Reporting-Endpoints", "Report-To", "NEL", "Origin-Agent-Cluster", "SourceMap", "Server", "WWW-Authenticate", "Proxy-Authenticate", "Authentication-Info",
		"Access-Control-Allow-Credentials", "Access-Control-Allow-Private-Network", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Picloud-Own",
		"X-Accel-Redirect", "x-accel-buffering", "X-Sendfile", "X-Sendfile-Type", "X-LIGHTTPD-send-file", "X-Forwarded-Host", "X-Reproxy-URL", "X-Real-IP", "Content-Length", "Date",
	} {
		if err := read(name); err == nil || !strings.Contains(err.Error(), `"`+name+`"`) {
			t.Errorf("%s: %v, want an error that names it", name, err)
		}
	}
}

// Workers are hostile: whatever they call a response has a status that can be sent, and
// no header that frames the message or begins another one.
func FuzzReadResponse(f *testing.F) {
	for _, seed := range []string{`{"status":200,"encoding":"json","body":1,"headers":{"a":"b"}}`, `{"status":200,"encoding":"base64","body":"AP8="}`, `{"status":9}`, `null`, `{"headers":{"a":"\r\nb: c"}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, out []byte) {
		res, err := sdk.ReadResponse(out)
		if err != nil {
			return
		}
		if res.Status < 200 || res.Status > 599 {
			t.Fatalf("status %d", res.Status)
		}
		for name, value := range res.Headers {
			if name == "" || strings.ContainsAny(name, " :\r\n") || strings.ContainsAny(value, "\r\n\x00") || strings.EqualFold(name, "Transfer-Encoding") {
				t.Fatalf("header %q: %q", name, value)
			}
		}
	})
}
