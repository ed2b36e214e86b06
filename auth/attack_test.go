package auth_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/auth"
)

// forge signs a token by hand, so that no library gets in the way of a bad one.
func forge(secret []byte, header, payload string) string {
	input := b64(header) + "." + b64(payload)
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(input))
	return input + "." + b64(string(m.Sum(nil)))
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func header(kid string) string { return fmt.Sprintf(`{"alg":"HS256","kid":%q}`, kid) }

// payload is a good payload for shop/orders with some members replaced; an
// empty replacement removes one.
func payload(replace ...string) string {
	members := []string{
		"app_id", `"shop"`, "topics", `["orders"]`, "sub", `"key:k1"`,
		"iat", fmt.Sprint(noon.Unix()), "exp", fmt.Sprint(noon.Add(time.Hour).Unix()),
	}
	for i := 0; i < len(replace); i += 2 {
		if at := slices.Index(members, replace[i]); at >= 0 {
			members[at+1] = replace[i+1]
		} else {
			members = append(members, replace[i], replace[i+1])
		}
	}
	var b []string
	for i := 0; i < len(members); i += 2 {
		if members[i+1] != "" {
			b = append(b, fmt.Sprintf("%q:%s", members[i], members[i+1]))
		}
	}
	return "{" + strings.Join(b, ",") + "}"
}

// TK-1: the classic attacks, each with everything else in order.
func TestVerifyTokenRefusesAttacks(t *testing.T) {
	t.Parallel()
	a, keys, _ := newAuthority(t)
	key, lab := keys.signing["shop"][0], keys.signing["lab"][0]
	good := forge(key.Secret[:], header(key.ID), payload())
	if _, err := a.VerifyToken("shop", []string{"orders"}, good); err != nil {
		t.Fatalf("the model of the attacks is not accepted itself: %v", err)
	}
	parts := strings.Split(good, ".")
	sign := func(p string) string { return forge(key.Secret[:], header(key.ID), p) }
	head := func(h string) string { return forge(key.Secret[:], h, payload()) }

	const (
		shape     = "token: not a compact JWS of at most 4 KiB"
		malformed = "token: malformed"
		badHeader = "token: header not acceptable"
		unknown   = "token: no valid signing key of this app has its kid"
		signature = "token: bad signature or algorithm"
		other     = "token: for another app"
		other2    = "token: not acceptable"
		topics    = "token: does not name every topic asked for"
		future    = "token: issued in the future, or at no stated time"
	)
	for name, tc := range map[string]struct{ token, reason string }{
		"empty":                      {"", shape},
		"two dots":                   {"..", malformed},
		"api key":                    {"pck_aaaaaaaaaa_" + strings.Repeat("a", 52), shape},
		"alg none, no signature":     {b64(`{"alg":"none","kid":"`+key.ID+`"}`) + "." + parts[1] + ".", signature},
		"alg None":                   {head(`{"alg":"None","kid":"` + key.ID + `"}`), other2},
		"alg none, good signature":   {head(`{"alg":"none","kid":"` + key.ID + `"}`), signature},
		"alg hs256 in lower case":    {head(`{"alg":"hs256","kid":"` + key.ID + `"}`), other2},
		"alg missing":                {head(`{"kid":"` + key.ID + `"}`), other2},
		"alg null":                   {head(`{"alg":null,"kid":"` + key.ID + `"}`), other2},
		"alg twice":                  {head(`{"alg":"HS256","alg":"HS256","kid":"` + key.ID + `"}`), badHeader},
		"alg RS256, MAC as if":       {head(`{"alg":"RS256","kid":"` + key.ID + `"}`), signature},
		"alg RS256, own key":         {rs256(t, key.ID), signature},
		"alg HS384":                  {hs384(key), signature},
		"empty signature":            {parts[0] + "." + parts[1] + ".", signature},
		"truncated signature":        {good[:len(good)-3], signature},
		"signature of nothing":       {parts[0] + "." + parts[1] + "." + b64(strings.Repeat("\x00", 32)), signature},
		"padding":                    {good + "=", shape},
		"line break":                 {parts[0] + "." + parts[1] + "." + parts[2][:10] + "\n" + parts[2][10:], shape},
		"four parts":                 {good + ".x", shape},
		"kid missing":                {head(`{"alg":"HS256"}`), badHeader},
		"kid empty":                  {head(`{"alg":"HS256","kid":""}`), badHeader},
		"kid a number":               {head(`{"alg":"HS256","kid":1}`), badHeader},
		"kid twice":                  {head(`{"alg":"HS256","kid":"x","kid":"` + key.ID + `"}`), badHeader},
		"kid unknown":                {head(header("../../etc/passwd")), unknown},
		"kid of another app":         {forge(lab.Secret[:], header(lab.ID), payload()), unknown},
		"kid swapped":                {forge(lab.Secret[:], header(key.ID), payload()), signature},
		"key embedded":               {forge([]byte("mine"), `{"alg":"HS256","jwk":{"kty":"oct","k":"`+b64("mine")+`"},"kid":"`+key.ID+`"}`, payload()), signature},
		"crit":                       {head(`{"alg":"HS256","crit":["b64"],"b64":false,"kid":"` + key.ID + `"}`), badHeader},
		"header not an object":       {head(`[]`), malformed},
		"empty secret":               {forge(nil, header(key.ID), payload()), signature},
		"secret in hex":              {forge(fmt.Appendf(nil, "%x", key.Secret), header(key.ID), payload()), signature},
		"app_id of another app":      {sign(payload("app_id", `"lab"`)), other},
		"app_id missing":             {sign(payload("app_id", "")), other},
		"app_id in upper case":       {sign(payload("app_id", "", "APP_ID", `"shop"`)), other},
		"app_id a list":              {sign(payload("app_id", `["shop"]`)), malformed},
		"app_id twice":               {sign(`{"app_id":"lab",` + payload()[1:]), malformed},
		"exp missing":                {sign(payload("exp", "")), other2},
		"exp now":                    {sign(payload("exp", fmt.Sprint(noon.Unix()))), "token: expired"},
		"exp past":                   {sign(payload("exp", fmt.Sprint(noon.Unix()-1))), "token: expired"},
		"exp a string":               {sign(payload("exp", `"9999999999"`)), malformed},
		"exp null":                   {sign(payload("exp", "null")), malformed},
		"exp beyond all bounds":      {sign(payload("exp", "1e300")), malformed},
		"exp negative":               {sign(payload("exp", "-1")), malformed},
		"exp twice":                  {sign(payload()[:len(payload())-1] + `,"exp":9999999999}`), malformed},
		"iat missing":                {sign(payload("iat", "")), future},
		"iat two minutes ahead":      {sign(payload("iat", fmt.Sprint(noon.Unix()+120))), future},
		"nbf ahead":                  {sign(payload("nbf", fmt.Sprint(noon.Unix()+60))), "token: not valid yet"},
		"topics missing":             {sign(payload("topics", "")), topics},
		"topics null":                {sign(payload("topics", "null")), topics},
		"topics empty":               {sign(payload("topics", "[]")), topics},
		"topics a string":            {sign(payload("topics", `"orders"`)), malformed},
		"topics an object":           {sign(payload("topics", `{"orders":true}`)), malformed},
		"topics hold null":           {sign(payload("topics", `[null]`)), malformed},
		"topics hold a list":         {sign(payload("topics", `[["orders"]]`)), malformed},
		"topics a pattern":           {sign(payload("topics", `["*","ord*","#"]`)), topics},
		"topics in another case":     {sign(payload("topics", `["Orders","ORDERS"]`)), topics},
		"topics with a space":        {sign(payload("topics", `["orders "," orders"]`)), topics},
		"topics twice":               {sign(`{"topics":["stock/a"],` + payload()[1:]), malformed},
		"payload null":               {sign("null"), other2},
		"payload a list":             {sign("[1]"), malformed},
		"payload with a tail":        {sign(payload() + "{}"), malformed},
		"payload deep":               {sign(strings.Repeat("[", 1000) + strings.Repeat("]", 1000)), malformed},
		"payload empty":              {sign(""), malformed},
		"huge":                       {sign(payload("pad", `"`+strings.Repeat("x", 4096)+`"`)), shape},
		"a megabyte of dots":         {strings.Repeat(".", 1<<20), shape},
		"sub not a string":           {sign(payload("sub", "{}")), malformed},
		"another app's token, whole": {mint(t, a, "lab", "orders").Text, unknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			grant, err := a.VerifyToken("shop", []string{"orders"}, tc.token)
			checkRefusal(t, err, tc.reason)
			if grant != (auth.TokenGrant{}) {
				t.Errorf("a refused token grants %v", grant)
			}
		})
	}
}

// AU-5: the app_id claim stops a token by itself, even when two apps had the
// same signing key; the key of the app stops it by itself, even when the claim
// is right ("kid of another app" above).
func TestAppClaimGuardsEvenUnderASharedKey(t *testing.T) {
	t.Parallel()
	a, keys, _ := newAuthority(t)
	keys.signing["lab"] = keys.signing["shop"]
	tok := mint(t, a, "lab", "orders")
	_, err := a.VerifyToken("shop", []string{"orders"}, tok.Text)
	checkRefusal(t, err, "token: for another app")
}

func TestTokenMustCoverEveryTopic(t *testing.T) {
	t.Parallel()
	a, _, _ := newAuthority(t)
	tok := mint(t, a, "shop", "orders")
	for _, topics := range [][]string{nil, {"stock/a"}, {"orders", "stock/a"}, {""}, {"order"}, {"orders/x"}} {
		_, err := a.VerifyToken("shop", topics, tok.Text)
		checkRefusal(t, err, "token: does not name every topic asked for")
	}
}

// A clock that was set back by less than a minute costs nobody his stream.
func TestTokenFromASlightlyFasterClockIsAccepted(t *testing.T) {
	t.Parallel()
	a, _, c := newAuthority(t)
	tok := mint(t, a, "shop", "orders")
	c.at = noon.Add(-time.Minute)
	if _, err := a.VerifyToken("shop", []string{"orders"}, tok.Text); err != nil {
		t.Error(err)
	}
}

func TestEveryFlippedBitOfATokenIsRefused(t *testing.T) {
	t.Parallel()
	a, _, _ := newAuthority(t)
	good := mint(t, a, "shop", "orders").Text
	for i := range len(good) {
		if _, err := a.VerifyToken("shop", []string{"orders"}, good[:i]); err == nil {
			t.Fatalf("accepted when cut to %d bytes", i)
		}
		for bit := range 8 {
			b := []byte(good)
			b[i] ^= 1 << bit
			if _, err := a.VerifyToken("shop", []string{"orders"}, string(b)); err == nil {
				t.Fatalf("accepted with bit %d of byte %d flipped", bit, i)
			}
		}
	}
}

// A token minted with the app's key by another library is as good as ours.
func TestTokenOfAnotherLibraryIsAccepted(t *testing.T) {
	t.Parallel()
	a, keys, _ := newAuthority(t)
	key := keys.signing["shop"][0]
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.HS256, Key: key.Secret[:]},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", key.ID),
	)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{
		"app_id": "shop", "topics": []string{"stock/a", "orders"}, "sub": "backend", "aud": []string{"browsers"},
		"iat": noon.Unix(), "exp": noon.Add(time.Minute).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	grant, err := a.VerifyToken("shop", []string{"orders"}, text)
	if err != nil {
		t.Fatal(err)
	}
	if want := (auth.TokenGrant{KeyID: key.ID, Expires: noon.Add(time.Minute), Subject: "backend"}); grant != want {
		t.Errorf("grant = %v, want %v", grant, want)
	}
}

func rs256(t *testing.T, kid string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	input := b64(fmt.Sprintf(`{"alg":"RS256","kid":%q}`, kid)) + "." + b64(payload())
	sum := sha256.Sum256([]byte(input))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + b64(string(sig))
}

func hs384(key picloud.SigningKey) string {
	input := b64(fmt.Sprintf(`{"alg":"HS384","kid":%q}`, key.ID)) + "." + b64(payload())
	m := hmac.New(sha512.New384, key.Secret[:])
	m.Write([]byte(input))
	return input + "." + b64(string(m.Sum(nil)))
}

func FuzzVerifyToken(f *testing.F) {
	a, keys, _ := newAuthority(f)
	key := keys.signing["shop"][0]
	good := forge(key.Secret[:], header(key.ID), payload())
	for _, seed := range []string{
		"", "..", good, good[:len(good)-1], strings.Replace(good, ".", "..", 1),
		b64(`{"alg":"none"}`) + "." + b64(payload()) + ".",
		b64(`{"alg":"HS256","kid":"`+key.ID+`"}`) + "." + b64("null") + "." + b64("x"),
		b64("[") + "." + b64("{") + ".a",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		_, err := a.VerifyToken("shop", []string{"orders"}, token)
		if (err == nil) != (token == good) {
			t.Fatalf("accepted = %v for %q", err == nil, token)
		}
		if err != nil && picloud.AsError(err) != picloud.ErrUnauthenticated {
			t.Fatalf("refused with %v", err)
		}
	})
}

// FuzzClaims signs whatever payload comes along: with a good signature, too,
// nothing but a sound payload for this app and topic opens a stream.
func FuzzClaims(f *testing.F) {
	a, keys, _ := newAuthority(f)
	key := keys.signing["shop"][0]
	for _, seed := range []string{payload(), payload("topics", "[]"), payload("exp", "1e9999"), "null", "{", `{"topics":[{}]}`, payload("x", `{"a":[1,{}]}`)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, claims string) {
		if _, err := a.VerifyToken("shop", []string{"orders"}, forge(key.Secret[:], header(key.ID), claims)); err != nil {
			return
		}
		var c struct {
			AppID  string   `json:"app_id"`
			Topics []string `json:"topics"`
			Exp    float64  `json:"exp"`
		}
		if err := json.Unmarshal([]byte(claims), &c); err != nil || c.AppID != "shop" || !slices.Contains(c.Topics, "orders") || c.Exp < float64(noon.Unix()) {
			t.Fatalf("accepted %q", claims)
		}
	})
}

func BenchmarkVerifyToken(b *testing.B) {
	a, _, _ := newAuthority(b)
	tok, topics := mint(b, a, "shop", "orders").Text, []string{"orders"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.VerifyToken("shop", topics, tok); err != nil {
			b.Fatal(err)
		}
	}
}
