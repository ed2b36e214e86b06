// Package sensor reads the sensors of the board at intervals and publishes their values
// as events.
//
// A sensor is a device on an I²C bus, or a file of the kernel: a DS18B20 on the 1-Wire
// bus, a channel of IIO or hwmon, or any file with a number in it. Its settings name a
// driver, which is set up anew for each reading: a device that lost its power in between
// would otherwise answer with values of other settings. Drivers are those of periph where
// it has sound ones. Buses are opened through the kernel's /dev/i2c-N; the registry of
// periph's host drivers, which touches pins, is not linked.
//
// Each sensor has a goroutine. An I²C bus carries one transfer at a time; a transfer that
// does not return is abandoned, and the bus carries no other until it has returned.
//
// A value that was not measured is never published. A sensor that cannot be read
// publishes one event when that begins and one when it ends, and is tried again. One that
// comes and goes has one fault for all of that (episode), of which there is one an hour in
// the long run.
package sensor
