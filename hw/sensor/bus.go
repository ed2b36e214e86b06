package sensor

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
)

// transport is an open I²C bus.
type transport interface {
	// claim returns EBUSY where a driver of the kernel uses the device.
	claim(address uint16) error
	// transfer writes w and then reads r, in one transaction.
	transfer(address uint16, w, r []byte) error
	// probe reports whether a device answers, with as little effect as can be.
	probe(address uint16) error
	name() string
	Close() error
}

// transferTimeout is how long a transfer may take before it is abandoned. Adapters give
// up after a second by themselves.
const transferTimeout = 3 * time.Second

// bus is an I²C bus of the board. It is safe for concurrent use.
type bus struct {
	number int
	open   func(number int) (transport, error)
	turn   chan struct{} // of capacity 1: held while a transfer runs

	mu      sync.Mutex               // guards what follows
	devices map[uint16]chan struct{} // of capacity 1 each: held while a device is read

	abandoned <-chan struct{} // closed when the call that was abandoned has returned; nil: there is none; held by turn
}

func newBus(number int, open func(int) (transport, error)) *bus {
	return &bus{number: number, open: open, turn: make(chan struct{}, 1), devices: map[uint16]chan struct{}{}}
}

// do opens the bus and calls fn with it, when no other call runs. It returns when fn has,
// after transferTimeout, or when ctx ends; fn that has not returned then runs on, and the
// bus refuses further calls until it has. The bus is open for that long alone: the kernel
// does not let go of an adapter while it is.
func (b *bus) do(ctx context.Context, fn func(transport) error) error {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if b.abandoned != nil {
		select {
		case <-b.abandoned:
			b.abandoned = nil
		default:
			return faultf("the bus i2c-%d hangs: a transfer has not returned; take the device that holds it off the bus, or restart the board", b.number)
		}
	}
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = b.call(fn)
	}()
	timer := time.NewTimer(transferTimeout)
	defer timer.Stop()
	select {
	case <-done:
		return err
	case <-timer.C:
		b.abandoned = done
		return faultf("the bus i2c-%d hangs: a transfer has not returned for %v; check the wires for a short, and that each device has its supply",
			b.number, transferTimeout)
	case <-ctx.Done():
		b.abandoned = done
		return context.Cause(ctx)
	}
}

// call calls fn with the bus open.
func (b *bus) call(fn func(transport) error) error {
	t, err := b.open(b.number)
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }() // nothing is buffered
	return fn(t)
}

// answered reports whether an error of a transfer is about the device alone, and the bus
// as such works.
func answered(err error) bool {
	return errors.Is(err, unix.EREMOTEIO) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.EBUSY)
}

// device returns what is held while the device at an address is read.
func (b *bus) device(address uint16) chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.devices[address] == nil {
		b.devices[address] = make(chan struct{}, 1)
	}
	return b.devices[address]
}

// session is the bus for one reading of one device. It implements i2c.Bus of periph: its
// first error is kept, since drivers word errors in their own way or drop them, and no
// transfer follows one that has failed.
type session struct {
	ctx context.Context //nolint:containedctx // the interface has none, and a session is one call
	bus *bus
	err error
}

// String implements i2c.Bus.
func (s *session) String() string { return "i2c" }

// SetSpeed implements i2c.Bus. The device tree says how fast a bus is.
func (s *session) SetSpeed(physic.Frequency) error { return errors.New("not supported") }

// Tx implements i2c.Bus. It waits for its turn and for the device.
func (s *session) Tx(address uint16, w, r []byte) error {
	if s.err != nil {
		return s.err
	}
	// An abandoned transfer must not write into memory of the driver.
	out, in := append([]byte(nil), w...), make([]byte, len(r))
	s.err = s.bus.do(s.ctx, func(t transport) error {
		if err := t.claim(address); err != nil {
			return err
		}
		return t.transfer(address, out, in)
	})
	if s.err == nil {
		copy(r, in)
	}
	return s.err
}

// settle waits while a device measures, or until the reading is over.
func (s *session) settle(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
}

// forgive forgets that a device has not acknowledged a transfer, which was no fault.
func (s *session) forgive() {
	if answered(s.err) {
		s.err = nil
	}
}

// How to get the buses of a board.
const (
	getI2C  = "on a Raspberry Pi put dtparam=i2c_arm=on into /boot/firmware/config.txt and i2c-dev into /etc/modules, and restart the board"
	getWire = "on a Raspberry Pi put dtoverlay=w1-gpio into /boot/firmware/config.txt, and restart the board"
)

// explain words an error of a bus for people.
func (s *Settings) explain(err error) error {
	if _, ok := errors.AsType[*fault](err); ok {
		return err
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return faultf("/dev/i2c-%d is closed to this user: let it join the group of that device, as in 'usermod -aG i2c picloud', and restart the node", s.Bus)
	case errors.Is(err, fs.ErrNotExist):
		return faultf("there is no bus /dev/i2c-%d: %s", s.Bus, getI2C)
	case errors.Is(err, unix.EBUSY):
		return faultf("a driver of the kernel uses the device at %s: read its values with driver = \"iio\" or \"hwmon\", which 'picloud hw scan' lists", s.Place())
	case errors.Is(err, unix.EREMOTEIO), errors.Is(err, unix.ENXIO):
		return faultf("no device answers at %s: check its wires and its supply; 'picloud hw scan' lists the addresses that answer", s.Place())
	case errors.Is(err, unix.ETIMEDOUT), errors.Is(err, unix.EAGAIN):
		return faultf("the bus i2c-%d does not get anywhere: check the wires for a short, and that each device has its supply", s.Bus)
	case errors.Is(err, unix.ENODEV):
		return faultf("the adapter of i2c-%d is gone", s.Bus)
	case errors.Is(err, unix.EIO):
		return faultf("the transfer to %s failed: check the wires, and keep them short", s.Place())
	case errors.Is(err, context.DeadlineExceeded):
		return faultf("the device at %s takes too long to answer", s.Place())
	}
	return faultf("the device at %s cannot be read", s.Place())
}

var _ i2c.Bus = (*session)(nil)
