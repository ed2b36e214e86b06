package sensor

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Units, which name the values in events.
const (
	celsius     = "celsius"
	percent     = "percent" // of relative humidity
	hectopascal = "hectopascal"
	ppm         = "ppm" // of carbon dioxide
	lux         = "lux"
	volt        = "volt"
	ampere      = "ampere"
	watt        = "watt"
	ohm         = "ohm"
	rpm         = "rpm"
	anyValue    = "value"
)

// Value is one measured value.
type Value struct {
	Unit   string
	Number float64
}

// decimals says how many digits behind the point tell something. Units that are not
// named have six.
var decimals = map[string]float64{celsius: 1e3, percent: 1e2, hectopascal: 1e2, ppm: 1, lux: 1e1, rpm: 1}

// round takes off digits that say nothing about the sensor, such as those of binary fractions.
func round(unit string, number float64) float64 {
	scale, ok := decimals[unit]
	if !ok {
		scale = 1e6
	}
	if r := math.Round(number*scale) / scale; !math.IsInf(r, 0) {
		return r
	}
	return number
}

// check returns values rounded, or an error when one cannot have been measured.
func (d *driver) check(values []Value) ([]Value, error) {
	for i := range values {
		v := &values[i]
		if math.IsNaN(v.Number) || math.IsInf(v.Number, 0) {
			return nil, faultf("it gives %v, which is no number", v.Number)
		}
		v.Number = round(v.Unit, v.Number)
		for _, r := range d.ranges {
			if r.unit == v.Unit && (v.Number < r.lo || v.Number > r.hi) {
				return nil, faultf("it gives %v %s, which it cannot measure (%v to %v): check its supply and its wires", v.Number, v.Unit, r.lo, r.hi)
			}
		}
	}
	return values, nil
}

// encode returns the data of an event.
func encode(values []Value, recovered, simulated bool) []byte {
	b := []byte{'{'}
	if recovered {
		b = append(b, `"error":null,`...)
	}
	for _, v := range values {
		b = strconv.AppendQuote(b, v.Unit)
		b = append(b, ':')
		b = strconv.AppendFloat(b, v.Number, 'f', -1, 64)
		b = append(b, ',')
	}
	if simulated {
		return append(b, `"simulated":true}`...)
	}
	b[len(b)-1] = '}' // there is at least one value
	return b
}

// fault is an error whose text is for people: what is wrong, and what to do.
type fault struct{ text string }

func (f *fault) Error() string { return f.text }

func faultf(format string, args ...any) error { return &fault{fmt.Sprintf(format, args...)} }

// encodeFault returns the data of the event that begins a fault.
func encodeFault(err error) []byte {
	b, _ := json.Marshal(struct { // a text is always encoded
		Error string `json:"error"`
	}{err.Error()})
	return b
}
