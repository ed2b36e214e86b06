package sensor

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelBus is an I²C bus of the kernel:
// https://docs.kernel.org/i2c/dev-interface.html. periph's own (host/v3/sysfs) drops the
// number of an error, and keeps addresses of its stack in integers while it calls
// functions, in which the stack can move.
type kernelBus struct {
	f    *os.File
	root string // of the kernel's files
}

// openBus returns what opens the buses of a machine.
func openBus(root string) func(number int) (transport, error) {
	return func(number int) (transport, error) {
		f, err := os.OpenFile(filepath.Join(root, fmt.Sprintf("dev/i2c-%d", number)), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		return &kernelBus{f, root}, nil
	}
}

// busNumbers lists the buses of a machine.
func busNumbers(root string) (list []int) {
	names, _ := filepath.Glob(filepath.Join(root, "dev/i2c-*")) // the pattern is sound
	for _, name := range names {
		if n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(name), "i2c-")); err == nil {
			list = append(list, n)
		}
	}
	return list
}

// Requests and structures of linux/i2c-dev.h and linux/i2c.h.
const (
	i2cSlave = 0x0703
	i2cFuncs = 0x0705
	i2cRdwr  = 0x0707
	i2cSMBus = 0x0720

	flagRead = 0x0001 // of a message

	canTransfer = 1 << 0  // I2C_FUNC_I2C
	canQuick    = 1 << 16 // I2C_FUNC_SMBUS_QUICK
	canReadByte = 1 << 17 // I2C_FUNC_SMBUS_READ_BYTE

	smbusRead  = 1
	smbusWrite = 0
	smbusQuick = 0 // size of a transaction that has no data
	smbusByte  = 1
)

type message struct {
	address, flags, length uint16
	data                   *byte
}

type messages struct {
	first *message
	count uint32
}

type smbus struct {
	direction uint8
	_         uint8 // register
	size      uint32
	data      *[34]byte
}

func (k *kernelBus) name() string {
	text, _ := os.ReadFile(filepath.Join(k.root, "sys/class/i2c-dev", filepath.Base(k.f.Name()), "name")) // for people alone
	return strings.TrimSpace(string(text))
}

// claim implements transport. The address is that of the file, which transfers do not use.
func (k *kernelBus) claim(address uint16) error { return k.number(i2cSlave, uintptr(address)) }

// transfer implements transport.
func (k *kernelBus) transfer(address uint16, w, r []byte) error {
	list := make([]message, 0, 2)
	if len(w) > 0 {
		list = append(list, message{address: address, length: uint16(len(w)), data: &w[0]}) // #nosec G115 -- drivers send a few bytes
	}
	if len(r) > 0 {
		list = append(list, message{address: address, flags: flagRead, length: uint16(len(r)), data: &r[0]}) // #nosec G115 -- as above
	}
	if len(list) == 0 {
		return nil
	}
	return pointer(k.f, i2cRdwr, &messages{first: &list[0], count: uint32(len(list))}) // #nosec G115 -- one or two
}

// probe implements transport. It does as i2cdetect: a write without data, but where that
// could set off something a read of one byte: EEPROMs at 0x50 to 0x5f, one of which a
// write of that kind spoils, and what is at 0x30 to 0x37.
func (k *kernelBus) probe(address uint16) error {
	if err := k.claim(address); err != nil {
		return err
	}
	var can uint64 // the kernel writes an unsigned long
	if err := pointer(k.f, i2cFuncs, &can); err != nil {
		return err
	}
	careful := 0x30 <= address && address <= 0x37 || 0x50 <= address && address <= 0x5f
	switch {
	case can&canTransfer == 0:
		return errNoTransfers
	case can&canQuick != 0 && !careful:
		return pointer(k.f, i2cSMBus, &smbus{direction: smbusWrite, size: smbusQuick})
	case can&canReadByte != 0:
		return pointer(k.f, i2cSMBus, &smbus{direction: smbusRead, size: smbusByte, data: new([34]byte)})
	}
	return unix.ENXIO // left alone
}

var errNoTransfers = faultf("the adapter has no plain transfers; sensors cannot be read through it, and it was left alone")

// Close implements transport.
func (k *kernelBus) Close() error { return k.f.Close() }

// number is ioctl(2) with a number.
func (k *kernelBus) number(request uint, n uintptr) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, k.f.Fd(), uintptr(request), n)
	runtime.KeepAlive(k.f)
	if errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}

// pointer is ioctl(2), about something of the type that the request has.
func pointer[T any](f *os.File, request uint, about *T) error {
	fd := f.Fd()
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, uintptr(request), uintptr(unsafe.Pointer(about))) // #nosec G103 -- the kernel's structures
	runtime.KeepAlive(f)
	runtime.KeepAlive(about)
	if errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}
