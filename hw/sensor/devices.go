package sensor

import (
	"encoding/binary"
	"errors"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/devices/v3/ads1x15"
	"periph.io/x/devices/v3/aht20"
	"periph.io/x/devices/v3/bmxx80"
	"periph.io/x/devices/v3/ina219"
	"periph.io/x/devices/v3/mcp9808"
	"periph.io/x/devices/v3/tmp102"
)

// bme280 returns a reading of a BME280 or a BMP280, which tell which they are.
func bme280(b *session, s *Settings) (name string, e physic.Env, err error) {
	d, err := bmxx80.NewI2C(b, s.Address, &bmxx80.DefaultOpts)
	if err == nil {
		err = d.Sense(&e)
		name = d.String()[:len("BME280")]
	}
	return name, e, err
}

func readBME280(b *session, s *Settings) ([]Value, error) {
	name, e, err := bme280(b, s)
	switch {
	case err != nil:
		return nil, err
	case name != "BME280":
		return nil, faultf("it is a %s, which has no humidity: set driver = \"bmp280\"", name)
	}
	return []Value{temperature(e), humidity(e), pressure(e)}, nil
}

func readBMP280(b *session, s *Settings) ([]Value, error) {
	_, e, err := bme280(b, s)
	return []Value{temperature(e), pressure(e)}, err
}

func readAHT20(b *session, _ *Settings) ([]Value, error) {
	d, err := aht20.NewI2C(b, nil)
	if err != nil {
		return nil, err
	}
	var e physic.Env
	err = d.Sense(&e)
	if _, damaged := errors.AsType[*aht20.DataCorruptionError](err); damaged {
		return nil, errDamaged
	}
	return []Value{temperature(e), humidity(e)}, err
}

// errDamaged is about data whose checksum is wrong.
var errDamaged = faultf("what it sends arrives damaged: keep the wires short, and away from others")

// mcp9808Conversion and the like are how long a device measures, at the most, after it
// was set up.
const (
	mcp9808Conversion = 250 * time.Millisecond
	tmp102Conversion  = 35 * time.Millisecond
	ina219Conversion  = 150 * time.Millisecond // of voltage and current, each the mean of 128
	bh1750Conversion  = 180 * time.Millisecond
)

func readMCP9808(b *session, s *Settings) ([]Value, error) {
	d, err := mcp9808.New(b, &mcp9808.Opts{Addr: int(s.Address), Res: mcp9808.Maximum})
	if err != nil {
		return nil, err
	}
	b.settle(mcp9808Conversion)
	var e physic.Env
	err = d.Sense(&e)
	return []Value{temperature(e)}, err
}

func readTMP102(b *session, s *Settings) ([]Value, error) {
	d, err := tmp102.NewI2C(b, s.Address, nil)
	if err != nil {
		return nil, err
	}
	b.settle(tmp102Conversion)
	var e physic.Env
	err = d.Sense(&e)
	return []Value{temperature(e)}, err
}

func readINA219(b *session, s *Settings) ([]Value, error) {
	d, err := ina219.New(b, &ina219.Opts{
		Address:       int(s.Address),
		SenseResistor: physic.ElectricResistance(s.Shunt * float64(physic.Ohm)),
		MaxCurrent:    physic.ElectricCurrent(s.MaxAmp * float64(physic.Ampere)),
	})
	if err != nil {
		return nil, err
	}
	b.settle(ina219Conversion)
	m, err := d.Sense()
	return []Value{
		{volt, float64(m.Voltage) / float64(physic.Volt)},
		{ampere, float64(m.Current) / float64(physic.Ampere)},
		{watt, float64(m.Power) / float64(physic.Watt)},
	}, err
}

// channels are those of a converter.
var channels = map[string]ads1x15.Channel{
	"0": ads1x15.Channel0, "1": ads1x15.Channel1, "2": ads1x15.Channel2, "3": ads1x15.Channel3,
	"0-1": ads1x15.Channel0Minus1, "0-3": ads1x15.Channel0Minus3, "1-3": ads1x15.Channel1Minus3, "2-3": ads1x15.Channel2Minus3,
}

func readADS1115(b *session, s *Settings) ([]Value, error) {
	d, err := ads1x15.NewADS1115(b, &ads1x15.Opts{I2cAddress: s.Address})
	if err != nil {
		return nil, err
	}
	pin, err := d.PinForChannel(channels[s.Channel], physic.ElectricPotential(s.MaxVolt*float64(physic.Volt)), 8*physic.Hertz, ads1x15.BestQuality)
	if err != nil {
		return nil, err
	}
	sample, err := pin.Read()
	if err == nil && (sample.Raw == 1<<15-1 || sample.Raw == -1<<15) {
		return nil, faultf("the voltage is beyond what the converter can read with max_volt = %v", s.MaxVolt)
	}
	return []Value{{volt, float64(sample.V) / float64(physic.Volt)}}, err
}

// readBH1750 measures once, with 1 lx. periph's driver sends another command than the
// one that turns the device on, starts each measurement twice, and drops fractions.
func readBH1750(b *session, s *Settings) ([]Value, error) {
	const onceHigh = 0x20
	d := i2c.Dev{Bus: b, Addr: s.Address}
	if err := d.Tx([]byte{onceHigh}, nil); err != nil {
		return nil, err
	}
	b.settle(bh1750Conversion)
	var raw [2]byte
	err := d.Tx(nil, raw[:])
	return []Value{{lux, float64(binary.BigEndian.Uint16(raw[:])) / 1.2}}, err
}

func temperature(e physic.Env) Value {
	return Value{celsius, float64(e.Temperature-physic.ZeroCelsius) / float64(physic.Kelvin)}
}

func humidity(e physic.Env) Value {
	return Value{percent, float64(e.Humidity) / float64(physic.PercentRH)}
}

func pressure(e physic.Env) Value {
	return Value{hectopascal, float64(e.Pressure) / float64(100*physic.Pascal)}
}
