package sensor

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// sixteen is a board with sixteen sensors: four of each kind on buses that answer at once,
// and in files.
func sixteen(b *testing.B) (string, []Settings) {
	b.Helper()
	files := map[string]string{}
	var all []Settings
	for i := range 4 {
		all = append(all,
			complete(b, fmt.Sprintf("light-%d", i), "bh1750", func(s *Settings) { s.Bus = i }),
			complete(b, fmt.Sprintf("volt-%d", i), "ads1115", func(s *Settings) { s.Bus = i }),
			complete(b, fmt.Sprintf("wire-%d", i), driverDS18B20, func(s *Settings) { s.Path = fmt.Sprintf("/sys/bus/w1/devices/28-%d/temperature", i) }),
			complete(b, fmt.Sprintf("supply-%d", i), driverHwmon, func(s *Settings) { s.Path = fmt.Sprintf("/sys/class/hwmon/hwmon%d/in1_input", i) }),
		)
		files[fmt.Sprintf("sys/bus/w1/devices/28-%d/temperature", i)] = "21312\n"
		files[fmt.Sprintf("sys/class/hwmon/hwmon%d/in1_input", i)] = "3300\n"
	}
	return machine(b, files), all
}

// BenchmarkSixteenSensors reads sixteen sensors, and reports the time of the processor
// that takes, and which part of a core it is when each is read once a second. What
// happens to an event after it was handed over is not in it.
func BenchmarkSixteenSensors(b *testing.B) {
	root, all := sixteen(b)
	p := newPoller(Config{Sensors: all, Publisher: newRecorder(), Topics: newTopics()}.withRoot(root), func(int) (transport, error) { return &devices{}, nil })
	used := func() int64 {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	b.ReportAllocs()
	for b.Loop() {
		for _, one := range p.probes {
			values, err := one.read(b.Context())
			if err != nil {
				b.Fatal(one.set.Name, err)
			}
			one.note(values, nil)
			if err := one.report(b.Context(), values, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(used()-before)/float64(b.N)/1e3, "cpu-µs/round")
	b.ReportMetric(float64(used()-before)/float64(b.N)/1e7, "%core-at-1/s")
}
