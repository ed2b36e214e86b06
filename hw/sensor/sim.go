package sensor

import (
	"hash/fnv"
	"math"
	"slices"
	"time"
)

// Simulated values go around a middle once in simPeriod.
const simPeriod = 10 * time.Minute

// middles are what simulated values go around, and how far they go.
var middles = map[string]struct{ at, swing float64 }{
	celsius: {21, 4}, percent: {45, 10}, hectopascal: {1013, 8}, ppm: {700, 250}, lux: {300, 280},
	volt: {3.3, 0.2}, ampere: {0.4, 0.3}, watt: {2, 1}, ohm: {10_000, 2_000}, rpm: {1200, 300}, anyValue: {50, 40},
}

// simulate returns the values that a sensor of a simulated board has at a time. They move
// slowly, those of each sensor and unit at a time of their own, and never leave the range
// of the device.
func simulate(s *Settings, units []string, now time.Time) []Value {
	values := make([]Value, len(units))
	for i, unit := range units {
		m, ok := middles[unit]
		if !ok {
			m = middles[anyValue]
		}
		h := fnv.New32a()
		_, _ = h.Write([]byte(s.Name + unit)) // it cannot fail
		turn := float64(now.UnixMilli()%simPeriod.Milliseconds())/float64(simPeriod.Milliseconds()) + float64(h.Sum32()%1000)/1000
		v := m.at + m.swing*math.Sin(2*math.Pi*turn)
		ranges := drivers[s.Driver].ranges
		if at := slices.IndexFunc(ranges, func(r span) bool { return r.unit == unit }); at >= 0 {
			v = min(max(v, ranges[at].lo), ranges[at].hi)
		}
		values[i] = Value{unit, round(unit, v)}
	}
	return values
}
