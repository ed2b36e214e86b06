package httpapi_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/picloud/picloud/api"
)

// PG-5: a recovery key can be copied from paper: case, dashes and blanks do not
// count, anything else does. Only who may manage the instance sees it.
func TestRecoveryKeyIsReadAsItIsShown(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	a := n.ask(t, "GET", "/v1/recovery-key", n.admin, "")
	var k api.RecoveryKey
	if err := json.Unmarshal(a.body, &k); err != nil || a.status != 200 {
		t.Fatal(a.status, err)
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Error("it may be cached")
	}
	want, err := api.ParseRecoveryKey(k.Text)
	if err != nil || len(want) != 32 {
		t.Fatalf("%s: %d bytes, %v", k.Text, len(want), err)
	}
	for _, text := range []string{strings.ToUpper(k.Text), strings.ReplaceAll(k.Text, "-", " "), strings.ReplaceAll(k.Text, "-", ""), "  " + k.Text + "\n"} {
		if got, err := api.ParseRecoveryKey(text); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "pcr", "pcr-", "pcr-1111", k.Text[4:], "pck-" + k.Text[4:]} {
		if _, err := api.ParseRecoveryKey(text); err == nil {
			t.Errorf("%q is taken for a recovery key", text)
		}
	}
}
