package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/picloud/picloud/store"
)

// TK-1: a token that another JWT library made with the app's key opens a
// stream; the classic forgeries all get the same answer.
func TestTokensOfAnotherLibrary(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	admin := n.key("", "instance:admin")
	n.do(201, nil, "POST", "/v1/apps/default/topics", admin, `{"name":"door","external":true}`)
	n.do(201, nil, "POST", "/v1/apps/default/signing-keys", admin, ``)
	n.stop()
	st, err := store.Open(store.Config{Dir: n.data, ReserveBytes: -1}) // the key is nowhere to be had over the wire
	if err != nil {
		t.Fatal(err)
	}
	key := st.SigningKeys("default")[0]
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	n.start()
	claims := func() map[string]any {
		return map[string]any{"app_id": "default", "topics": []string{"door"}, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "sub": "me"}
	}
	sign := func(alg jose.SignatureAlgorithm, secret []byte, kid string, c map[string]any) string {
		t.Helper()
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: secret}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", kid))
		if err != nil {
			t.Fatal(err)
		}
		text, err := jwt.Signed(signer).Claims(c).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good := sign(jose.HS256, key.Secret[:], key.ID, claims())
	const path = "/v1/apps/default/topics/door/events?token="
	n.subscribe("", path+good).want(t, "hello")

	with := func(name string, value any) map[string]any {
		c := claims()
		c[name] = value
		if value == nil {
			delete(c, name)
		}
		return c
	}
	parts := strings.Split(good, ".")
	header := func(h map[string]any) string {
		b, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	long := append(bytes.Clone(key.Secret[:]), make([]byte, 32)...)
	forged := map[string]string{
		"alg none":         header(map[string]any{"alg": "none", "kid": key.ID}) + "." + parts[1] + ".",
		"alg RS256":        header(map[string]any{"alg": "RS256", "kid": key.ID}) + "." + parts[1] + "." + parts[2],
		"alg HS512":        sign(jose.HS512, long, key.ID, claims()),
		"no signature":     parts[0] + "." + parts[1] + ".",
		"other key":        sign(jose.HS256, bytes.Repeat([]byte{7}, 32), key.ID, claims()),
		"unknown kid":      sign(jose.HS256, key.Secret[:], "nobody", claims()),
		"other app":        sign(jose.HS256, key.Secret[:], key.ID, with("app_id", "other")),
		"no app":           sign(jose.HS256, key.Secret[:], key.ID, with("app_id", nil)),
		"other topic":      sign(jose.HS256, key.Secret[:], key.ID, with("topics", []string{"window"})),
		"topics as text":   sign(jose.HS256, key.Secret[:], key.ID, with("topics", "door")),
		"topic by pattern": sign(jose.HS256, key.Secret[:], key.ID, with("topics", []string{"*"})),
		"expired":          sign(jose.HS256, key.Secret[:], key.ID, with("exp", time.Now().Add(-time.Second).Unix())),
		"no expiry":        sign(jose.HS256, key.Secret[:], key.ID, with("exp", nil)),
		"from the future":  sign(jose.HS256, key.Secret[:], key.ID, with("iat", time.Now().Add(time.Hour).Unix())),
		"truncated":        good[:len(good)-1],
		"nothing":          "",
	}
	var first []byte
	for name, token := range forged {
		a, err := n.request("GET", path+token, "", "", "Accept", "text/event-stream")
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = a.body
		}
		if a.status != 401 || !bytes.Equal(a.body, first) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}
