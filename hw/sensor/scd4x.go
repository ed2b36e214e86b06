package sensor

import (
	"encoding/binary"
	"time"
)

// Commands of Sensirion's SCD40 and SCD41, by their data sheet.
const (
	scd4xStart = 0x21b1 // to measure every 5 s
	scd4xReady = 0xe4b8 // whether there is a measurement that was not read
	scd4xRead  = 0xec05

	scd4xDelay = time.Millisecond // from a command to its answer
	scd4xPause = 500 * time.Millisecond
	scd4xTries = 13 // a measurement takes 5 s, and the first somewhat more
)

// readSCD4x reads the newest measurement, for which it waits when the device has none.
// periph's driver holds the bus meanwhile, and keeps in mind whether the device measures,
// which is wrong once that has lost its power.
func readSCD4x(b *session, s *Settings) ([]Value, error) {
	for try := range scd4xTries {
		ready, err := scd4xWords(b, s.Address, scd4xReady, 1)
		if err != nil {
			return nil, err
		}
		if ready[0]&0x07ff != 0 {
			break
		}
		switch try {
		case 0:
			// A device that measures already does not acknowledge it.
			_ = b.Tx(s.Address, binary.BigEndian.AppendUint16(nil, scd4xStart), nil)
			b.forgive()
		case scd4xTries - 1:
			return nil, faultf("it has measured nothing for %v: check its supply, which has to bear 205 mA", (scd4xTries-1)*scd4xPause)
		}
		b.settle(scd4xPause)
	}
	w, err := scd4xWords(b, s.Address, scd4xRead, 3)
	if err != nil {
		return nil, err
	}
	return []Value{
		{ppm, float64(w[0])},
		{celsius, -45 + 175*float64(w[1])/(1<<16-1)},
		{percent, 100 * float64(w[2]) / (1<<16 - 1)},
	}, nil
}

// scd4xWords sends a command and reads n words, each of which has a checksum.
func scd4xWords(b *session, address, command uint16, n int) ([]uint16, error) {
	if err := b.Tx(address, binary.BigEndian.AppendUint16(nil, command), nil); err != nil {
		return nil, err
	}
	b.settle(scd4xDelay)
	raw := make([]byte, 3*n)
	if err := b.Tx(address, nil, raw); err != nil {
		return nil, err
	}
	words := make([]uint16, n)
	for i := range words {
		one := raw[3*i : 3*i+3]
		if sensirionChecksum(one[:2]) != one[2] {
			return nil, errDamaged
		}
		words[i] = binary.BigEndian.Uint16(one)
	}
	return words, nil
}

// sensirionChecksum is a CRC-8 with the polynomial 0x31, which begins with 0xff.
func sensirionChecksum(data []byte) byte {
	crc := byte(0xff)
	for _, b := range data {
		crc ^= b
		for range 8 {
			if crc&0x80 != 0 {
				crc = crc<<1 ^ 0x31
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
