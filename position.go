package picloud

import (
	"fmt"
	"strconv"
	"strings"
)

// Position is a place in an app's history. Epoch names the history: it changes
// when a history is lost or replaced, so that equal numbers of two histories are
// never mistaken for each other. Seq orders the events of one app within it.
type Position struct {
	Epoch Epoch
	Seq   uint64
}

// Epoch names one history of a node. Zero is never used.
type Epoch uint64

// String returns the ten hexadecimal digits that stand for e on the wire.
func (e Epoch) String() string { return fmt.Sprintf("%010x", uint64(e)) }

// MaxEpoch is the largest epoch: ten hexadecimal digits.
const MaxEpoch = Epoch(1<<40 - 1)

// String returns the text form, which is the id of an event and of its SSE
// frame: "00c3a91e42.1289".
func (p Position) String() string {
	return p.Epoch.String() + "." + strconv.FormatUint(p.Seq, 10)
}

// AppendText appends the text form to b.
func (p Position) AppendText(b []byte) ([]byte, error) {
	const digits = "0123456789abcdef"
	for shift := 36; shift >= 0; shift -= 4 {
		b = append(b, digits[p.Epoch>>shift&15])
	}
	b = append(b, '.')
	return strconv.AppendUint(b, p.Seq, 10), nil
}

// MarshalText implements encoding.TextMarshaler.
func (p Position) MarshalText() ([]byte, error) { return p.AppendText(nil) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Position) UnmarshalText(b []byte) error {
	q, err := ParsePosition(string(b))
	if err != nil {
		return err
	}
	*p = q
	return nil
}

// ParsePosition reads the text form. Only the exact form that String writes is
// accepted, so that two texts never name one position.
func ParsePosition(s string) (Position, error) {
	epoch, seq, ok := strings.Cut(s, ".")
	if !ok || len(epoch) != 10 {
		return Position{}, errPosition()
	}
	e, err := strconv.ParseUint(epoch, 16, 40)
	if err != nil || e == 0 {
		return Position{}, errPosition()
	}
	n, err := strconv.ParseUint(seq, 10, 64)
	if err != nil {
		return Position{}, errPosition()
	}
	p := Position{Epoch: Epoch(e), Seq: n}
	if p.String() != s {
		return Position{}, errPosition()
	}
	return p, nil
}

func errPosition() error {
	return ErrPositionInvalid.Detailf("send an id exactly as an event carried it, such as 00c3a91e42.1289")
}
