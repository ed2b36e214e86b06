package sensor

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c/i2ctest"

	"github.com/picloud/picloud/board"
)

// recorded is a bus that answers as was written down.
type recorded struct{ i2ctest.Playback }

func (r *recorded) claim(uint16) error { return nil }
func (r *recorded) transfer(address uint16, w, in []byte) error {
	return r.Tx(address, w, in)
}
func (r *recorded) probe(uint16) error { return unix.EREMOTEIO }
func (r *recorded) name() string       { return "recorded" }

// reading polls one sensor once, at the first of a bus, and returns what it says.
func reading(t *testing.T, s Settings, open func(int) (transport, error)) (out board.Sensor) {
	t.Helper()
	s, faults := s.Complete()
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	synctest.Test(t, func(t *testing.T) {
		p := newPoller(Config{Sensors: []Settings{s}, Publisher: newRecorder(), Topics: newTopics()}.withRoot(t.TempDir()), open)
		values, err := p.probes[0].read(t.Context())
		p.probes[0].note(values, err)
		out = p.Sensors()[0]
	})
	return out
}

func (c Config) withRoot(root string) Config {
	c = New(c).cfg
	c.Root = root
	return c
}

// calibration is that of the calculation example in the data sheet of the BMP280
// (BST-BMP280-DS001, section 3.12), little endian.
func calibration() []byte {
	var b []byte
	for _, v := range []int{27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000} {
		b = append(b, byte(v), byte(v>>8))
	}
	return b
}

// raw519888 is the pressure 415148 and the temperature 519888, as the registers have them.
var raw519888 = []byte{415148 >> 12, 415148 >> 4 & 0xff, 415148 << 4 & 0xf0, 519888 >> 12, 519888 >> 4 & 0xff, 519888 << 4 & 0xf0}

// HW-4: drivers compute what the data sheets compute in their examples.
func TestDevicesAsInTheirDataSheets(t *testing.T) {
	t.Parallel()
	const h1, h2, h3, h4, h5, h6, rawHumidity = 75, 370, 0, 313, 50, 30, 28000
	humidityCalibration := []byte{h2 & 0xff, h2 >> 8, h3, h4 >> 4, h4&0xf | h5&0xf<<4, h5 >> 4, h6}
	for name, c := range map[string]struct {
		set  func(*Settings)
		ops  []i2ctest.IO
		want map[string]float64
	}{
		"bmp280": {func(*Settings) {}, []i2ctest.IO{
			{Addr: 0x76, W: []byte{0xd0}, R: []byte{0x58}},
			{Addr: 0x76, W: []byte{0x88}, R: append(calibration(), 0, 0)},
			{Addr: 0x76, W: []byte{0xf4, 0x6c, 0xf5, 0xa0, 0xf4, 0x6c}},
			{Addr: 0x76, W: []byte{0xf4, 0x6d}},
			{Addr: 0x76, W: []byte{0xf3}, R: []byte{0}},
			{Addr: 0x76, W: []byte{0xf7}, R: raw519888},
		}, map[string]float64{celsius: 25.08, hectopascal: 1006.53}},
		"bme280": {func(s *Settings) { s.Address = 0x77 }, []i2ctest.IO{
			{Addr: 0x77, W: []byte{0xd0}, R: []byte{0x60}},
			{Addr: 0x77, W: []byte{0x88}, R: append(calibration(), 0, h1)},
			{Addr: 0x77, W: []byte{0xe1}, R: humidityCalibration},
			{Addr: 0x77, W: []byte{0xf4, 0x6c, 0xf2, 0x03, 0xf5, 0xa0, 0xf4, 0x6c}},
			{Addr: 0x77, W: []byte{0xf4, 0x6d}},
			{Addr: 0x77, W: []byte{0xf3}, R: []byte{8}},
			{Addr: 0x77, W: []byte{0xf3}, R: []byte{0}},
			{Addr: 0x77, W: []byte{0xf7}, R: append(slices.Clone(raw519888), rawHumidity>>8, rawHumidity&0xff)},
		}, map[string]float64{celsius: 25.08, hectopascal: 1006.53, percent: boschHumidity(rawHumidity, h1, h2, h3, h4, h5, h6)}},
		"tmp102": {func(*Settings) {}, []i2ctest.IO{
			{Addr: 0x48, W: []byte{1}, R: []byte{0x60, 0xa0}},
			{Addr: 0x48, W: []byte{1, 0x60, 0xa0}},
			{Addr: 0x48, W: []byte{0}, R: []byte{0xe7, 0x00}},
		}, map[string]float64{celsius: -25}},
		"mcp9808": {func(*Settings) {}, []i2ctest.IO{
			{Addr: 0x18, W: []byte{8, 3}},
			{Addr: 0x18, W: []byte{1, 0, 0}},
			{Addr: 0x18, W: []byte{5}, R: []byte{0xc1, 0x94}},
		}, map[string]float64{celsius: 25.25}},
		"aht20": {func(*Settings) {}, []i2ctest.IO{
			{Addr: 0x38, W: []byte{0x71}, R: []byte{0x18}},
			{Addr: 0x38, W: []byte{0xac, 0x33, 0}},
			{Addr: 0x38, R: withSum(0x18, 0x80, 0x00, 0x06, 0x00, 0x00)}, // half of each range
		}, map[string]float64{celsius: 25, percent: 50}},
		// Texas Instruments SBOS448, section 8.6.4.1: 10 A through 2 mΩ at 11.98 V.
		"ina219": {func(s *Settings) { s.Shunt, s.MaxAmp = 0.002, 32.768 }, []i2ctest.IO{
			{Addr: 0x40, W: []byte{5, 0x50, 0x00}},
			{Addr: 0x40, W: []byte{0, 0x1f, 0xff}},
			{Addr: 0x40, W: []byte{1}, R: []byte{0x07, 0xd0}},
			{Addr: 0x40, W: []byte{2}, R: []byte{0x5d, 0x98}},
			{Addr: 0x40, W: []byte{4}, R: []byte{0x27, 0x10}},
			{Addr: 0x40, W: []byte{3}, R: []byte{0x17, 0x66}},
		}, map[string]float64{volt: 11.98, ampere: 10, watt: 119.8}},
		"ads1115": {func(s *Settings) { s.Channel = "2" }, []i2ctest.IO{
			{Addr: 0x48, W: []byte{1, 0xe3, 0x03}},
			{Addr: 0x48, W: []byte{0}, R: []byte{0x40, 0x00}},
		}, map[string]float64{volt: 2.048}},
		// ROHM BH1750FVI: 0x8390 are 28067 lx.
		"bh1750": {func(*Settings) {}, []i2ctest.IO{
			{Addr: 0x23, W: []byte{0x20}},
			{Addr: 0x23, R: []byte{0x83, 0x90}},
		}, map[string]float64{lux: 28066.7}},
		// Sensirion SCD4x, section 3.6: 500 ppm, 25 °C, 37 %.
		"scd4x": {func(*Settings) {}, []i2ctest.IO{
			{Addr: 0x62, W: []byte{0xe4, 0xb8}},
			{Addr: 0x62, R: []byte{0x80, 0x00, 0xa2}}, // nothing yet
			{Addr: 0x62, W: []byte{0x21, 0xb1}},
			{Addr: 0x62, W: []byte{0xe4, 0xb8}},
			{Addr: 0x62, R: []byte{0x80, 0x06, 0x04}},
			{Addr: 0x62, W: []byte{0xec, 0x05}},
			{Addr: 0x62, R: []byte{0x01, 0xf4, 0x33, 0x66, 0x67, 0xa2, 0x5e, 0xb9, 0x3c}},
		}, map[string]float64{ppm: 500, celsius: 25.003, percent: 37}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Defaults("x")
			s.Driver = name
			c.set(&s)
			for i := range c.ops {
				if s.Driver == "scd4x" && c.ops[i].R != nil && len(c.ops[i].R) == 3 {
					c.ops[i].R[2] = sensirionChecksum(c.ops[i].R[:2])
				}
			}
			bus := &recorded{i2ctest.Playback{Ops: c.ops, DontPanic: true}}
			got := reading(t, s, func(int) (transport, error) { return bus, nil })
			if got.Fault != "" || !maps.Equal(got.Values, c.want) {
				t.Errorf("%v, %q; want %v", got.Values, got.Fault, c.want)
			}
			if err := bus.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// boschHumidity is the compensation in floating point of the data sheet of the BME280
// (BST-BME280-DS002, section 8.1), for the fine temperature of the example.
func boschHumidity(raw, h1, h2, h3, h4, h5, h6 float64) float64 {
	const fine = 128422
	h := fine - 76800.0
	h = (raw - (h4*64 + h5/16384*h)) * (h2 / 65536 * (1 + h6/67108864*h*(1+h3/67108864*h)))
	h *= 1 - h1*h/524288
	return math.Round(h*100) / 100
}

// withSum adds the checksum of an AHT20, which is Sensirion's.
func withSum(b ...byte) []byte { return append(b, sensirionChecksum(b)) }

// HW-4: what a device cannot have measured, or what is damaged, is a fault and no value;
// it is worded for people, never with the text of a driver.
func TestDevicesThatAnswerWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		driver string
		ops    []i2ctest.IO
		want   string
	}{
		"another device": {"bme280", []i2ctest.IO{{Addr: 0x76, W: []byte{0xd0}, R: []byte{0x61}}}, "what answers at i2c-1 0x76 does not do so as a BME280"},
		"a sister":       {"bme280", append([]i2ctest.IO{{Addr: 0x76, W: []byte{0xd0}, R: []byte{0x58}}}, bmp280Ops()...), "it is a BMP280"},
		"damaged": {"aht20", []i2ctest.IO{
			{Addr: 0x38, W: []byte{0x71}, R: []byte{0x18}},
			{Addr: 0x38, W: []byte{0xac, 0x33, 0}},
			{Addr: 0x38, R: make([]byte, 7)},
		}, "arrives damaged"},
		"out of range": {"tmp102", []i2ctest.IO{
			{Addr: 0x48, W: []byte{1}, R: []byte{0x60, 0xa0}},
			{Addr: 0x48, W: []byte{1, 0x60, 0xa0}},
			{Addr: 0x48, W: []byte{0}, R: []byte{0x80, 0x00}},
		}, "cannot measure"},
		"more than it can take": {"ads1115", []i2ctest.IO{{Addr: 0x48, W: []byte{1, 0xc3, 0x03}}, {Addr: 0x48, W: []byte{0}, R: []byte{0x7f, 0xff}}}, "max_volt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Defaults("x")
			s.Driver = c.driver
			bus := &recorded{i2ctest.Playback{Ops: append(slices.Clone(c.ops), c.ops...), DontPanic: true}} // each reading is tried twice
			got := reading(t, s, func(int) (transport, error) { return bus, nil })
			if !strings.Contains(got.Fault, c.want) || got.Values != nil {
				t.Errorf("%v, %q; want %q", got.Values, got.Fault, c.want)
			}
		})
	}
}

func bmp280Ops() []i2ctest.IO {
	return []i2ctest.IO{
		{Addr: 0x76, W: []byte{0x88}, R: append(calibration(), 0, 0)},
		{Addr: 0x76, W: []byte{0xf4, 0x6c, 0xf5, 0xa0, 0xf4, 0x6c}},
		{Addr: 0x76, W: []byte{0xf4, 0x6d}},
		{Addr: 0x76, W: []byte{0xf3}, R: []byte{0}},
		{Addr: 0x76, W: []byte{0xf7}, R: raw519888},
	}
}

// HW-4, HW-5: errors of a bus say what to do, and nothing of periph's hints.
func TestErrorsOfABusSayWhatToDo(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		unix.EREMOTEIO:  "no device answers at i2c-1 0x76",
		unix.ENXIO:      "no device answers",
		unix.ETIMEDOUT:  "does not get anywhere",
		unix.EBUSY:      "a driver of the kernel uses the device",
		unix.EACCES:     "usermod -aG i2c",
		unix.ENOENT:     "dtparam=i2c_arm=on",
		unix.ENODEV:     "adapter of i2c-1 is gone",
		unix.EIO:        "transfer to i2c-1 0x76 failed",
		errors.New("x"): "the device at i2c-1 0x76 cannot be read",
	} {
		s := Defaults("x")
		s.Driver = "bme280"
		got := reading(t, s, func(int) (transport, error) { return &devices{fail: func() error { return err }}, nil })
		if !strings.Contains(got.Fault, want) || strings.Contains(got.Fault, "sysfs") || strings.Contains(got.Fault, "plugdev") {
			t.Errorf("%v: %q", err, got.Fault)
		}
	}
}

// HW-4: an SCD4x that measures already, and does not acknowledge to be started, is read.
func TestSCD4xThatMeasuresAlready(t *testing.T) {
	t.Parallel()
	s := Defaults("x")
	s.Driver = "scd4x"
	asked := 0
	var last []byte
	bus := &devices{answer: func(_ uint16, w, r []byte) error {
		if len(w) > 0 {
			last = w
			if w[0] == 0x21 {
				return unix.EREMOTEIO
			}
			return nil
		}
		words := []uint16{500, 0x6667, 0x5eb9}
		if last[0] == 0xe4 {
			asked++
			words = []uint16{0x8000}
			if asked == 5 {
				words[0] |= 6
			}
		}
		for i := range len(r) / 3 {
			r[3*i], r[3*i+1] = byte(words[i]>>8), byte(words[i])
			r[3*i+2] = sensirionChecksum(r[3*i : 3*i+2])
		}
		return nil
	}}
	began := time.Now()
	got := reading(t, s, func(int) (transport, error) { return bus, nil })
	if got.Values[ppm] != 500 || asked != 5 {
		t.Errorf("%v, %q, asked %d times in %v", got.Values, got.Fault, asked, time.Since(began))
	}
}
