package picloud_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/picloud/picloud"
)

func ExamplePosition() {
	p := picloud.Position{Epoch: 0xc3a91e42, Seq: 1289}
	fmt.Println(p)

	q, err := picloud.ParsePosition("00c3a91e42.1290")
	fmt.Println(q.Epoch == p.Epoch, q.Seq-p.Seq, err)

	_, err = picloud.ParsePosition("c3a91e42.1289")
	fmt.Println(err)
	// Output:
	// 00c3a91e42.1289
	// true 1 <nil>
	// The position is not valid: send an id exactly as an event carried it, such as 00c3a91e42.1289
}

func TestPositionText(t *testing.T) {
	t.Parallel()
	for text, p := range map[string]picloud.Position{
		"0000000001.0":                    {Epoch: 1},
		"00c3a91e42.1289":                 {Epoch: 0xc3a91e42, Seq: 1289},
		"ffffffffff.18446744073709551615": {Epoch: picloud.MaxEpoch, Seq: math.MaxUint64},
	} {
		if got := p.String(); got != text {
			t.Errorf("String = %q, want %q", got, text)
		}
		if got, err := p.AppendText([]byte("id: ")); err != nil || string(got) != "id: "+text {
			t.Errorf("AppendText = %q, %v", got, err)
		}
		if got, err := picloud.ParsePosition(text); err != nil || got != p {
			t.Errorf("ParsePosition(%q) = %v, %v", text, got, err)
		}
		var back struct{ ID picloud.Position }
		b, err := json.Marshal(struct{ ID picloud.Position }{p})
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &back); err != nil || back.ID != p {
			t.Errorf("through JSON %s = %v, %v", b, back.ID, err)
		}
	}
}

// One position has one text, so that nobody is led astray by another.
func TestParsePositionRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", ".", "1", "0000000000.1", "00c3a91e42", "00c3a91e42.", ".1", "0c3a91e42.1", "000c3a91e42.1", "00C3A91E42.1", "00c3a91e42.01",
		"00c3a91e42.+1", "00c3a91e42.-1", "00c3a91e42.1 ", " 00c3a91e42.1", "00c3a91e42.1.2", "00c3a91e42.1e3", "00c3a91e42.0x1", "00c3a91e42.1_0",
		"+0c3a91e42.1", "0x00c3a91e.1", "00c3a91e42.18446744073709551616", "00c3a91e42,1", "00c3a91e42.\u0661", "gggggggggg.1",
	} {
		p, err := picloud.ParsePosition(text)
		if !errors.Is(err, picloud.ErrPositionInvalid) || p != (picloud.Position{}) {
			t.Errorf("ParsePosition(%q) = %v, %v", text, p, err)
		}
		kept := picloud.Position{Epoch: 1, Seq: 2}
		if kept.UnmarshalText([]byte(text)) == nil || kept != (picloud.Position{Epoch: 1, Seq: 2}) {
			t.Errorf("UnmarshalText(%q) changed the position to %v", text, kept)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	for _, seed := range []string{"00c3a91e42.1289", "ffffffffff.18446744073709551615", "0000000001.0", "0000000000.1", "00C3A91E42.1", "00c3a91e42.01", ".", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := picloud.ParsePosition(text)
		if err != nil {
			return
		}
		if p.String() != text || p.Epoch == 0 || p.Epoch > picloud.MaxEpoch {
			t.Fatalf("%q became %v", text, p)
		}
		if b, err := p.MarshalText(); err != nil || string(b) != text {
			t.Fatalf("%q became %q, %v", text, b, err)
		}
	})
}
