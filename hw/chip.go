package hw

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernel opens lines by the character devices of the kernel:
// https://docs.kernel.org/userspace-api/gpio/chardev.html, version 2, which
// Linux has since 5.10.
type kernel struct{ dev string }

// Flags of a line (enum gpio_v2_line_flag in linux/gpio.h).
const (
	flagUsed         = 1 << 0
	flagActiveLow    = 1 << 1
	flagInput        = 1 << 2
	flagOutput       = 1 << 3
	flagBiasPullUp   = 1 << 8
	flagBiasPullDown = 1 << 9
	flagBiasDisabled = 1 << 10
)

// consumer is by which name others see that a line is in use.
const consumer = "picloud"

func (k kernel) open(p *PinConfig) (line, error) {
	chip, offset, err := k.find(p.Line)
	if err != nil {
		return nil, err
	}
	defer func() { _ = chip.Close() }() // a line outlives it
	var r unix.GPIOV2LineRequest
	r.Offsets[0], r.Num_lines = offset, 1
	copy(r.Consumer[:], consumer)
	r.Config.Flags = flagsOf(p)
	if p.Output {
		r.Config.Num_attrs = 1
		r.Config.Attrs[0] = unix.GPIOV2LineConfigAttribute{Attr: unix.GPIOV2LineAttribute{Id: unix.GPIO_V2_LINE_ATTR_ID_OUTPUT_VALUES, Flags: bit(p.Start)}, Mask: 1}
	}
	rising, falling := p.reported()
	if rising || falling {
		r.Event_buffer_size = kernelQueue
	}
	if err := control(chip, unix.GPIO_V2_GET_LINE_IOCTL, &r); err != nil {
		return nil, k.explain(chip, offset, p.Line, err)
	}
	if !rising && !falling {
		return &kernelLine{os.NewFile(uintptr(r.Fd), p.Line)}, nil
	}
	if err := unix.SetNonblock(int(r.Fd), true); err != nil { // so that reading it takes no thread, and ends when it is closed
		return nil, errors.Join(err, unix.Close(int(r.Fd)))
	}
	return newKernelInput(os.NewFile(uintptr(r.Fd), p.Line)), nil
}

func flagsOf(p *PinConfig) (flags uint64) {
	flags = flagInput
	if p.Output {
		flags = flagOutput
	}
	if p.Invert {
		flags |= flagActiveLow
	}
	if rising, falling := p.reported(); !p.Output {
		flags |= bit(rising)*flagEdgeRising | bit(falling)*flagEdgeFalling
	}
	return flags | map[string]uint64{"up": flagBiasPullUp, "down": flagBiasPullDown, "none": flagBiasDisabled}[p.Pull]
}

func bit(on bool) uint64 {
	if on {
		return 1
	}
	return 0
}

// find opens the chip that has a line, which is given by its name or as
// CHIP:OFFSET, where the chip is a device or a label. The caller closes it.
func (k kernel) find(name string) (chip *os.File, offset uint32, err error) {
	devices, _ := filepath.Glob(filepath.Join(k.dev, "gpiochip*")) // the pattern is sound
	if len(devices) == 0 {
		return nil, 0, errors.New("this machine has no GPIO chip that can be seen; set hw.driver to \"sim\" to do without")
	}
	slices.SortFunc(devices, func(a, b string) int { return number(a) - number(b) })
	wanted, at, numbered := splitLine(name)
	for _, device := range devices {
		f, err := os.OpenFile(device, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrPermission) {
			return nil, 0, closedError(device)
		}
		if err != nil {
			return nil, 0, err
		}
		var info unix.GPIOChipInfo
		err = control(f, unix.GPIO_GET_CHIPINFO_IOCTL, &info)
		switch {
		case err != nil:
		case numbered:
			if wanted == text(info.Name[:]) || wanted == text(info.Label[:]) {
				if at < info.Lines {
					return f, at, nil
				}
				err = fmt.Errorf("%s has %d lines, which are counted from 0", device, info.Lines)
			}
		default:
			for i := range info.Lines {
				l := unix.GPIOV2LineInfo{Offset: i}
				if err = control(f, unix.GPIO_V2_GET_LINEINFO_IOCTL, &l); err != nil {
					break
				}
				if text(l.Name[:]) == name {
					return f, i, nil
				}
			}
		}
		if cerr := f.Close(); err != nil || cerr != nil {
			return nil, 0, errors.Join(err, cerr)
		}
	}
	return nil, 0, fmt.Errorf("no GPIO chip has a line %q: 'gpioinfo' lists them; CHIP:OFFSET, such as gpiochip0:17, names one by its place", name)
}

// closedError is a device that this user may not open.
type closedError string

// Error says what to do.
func (e closedError) Error() string {
	return string(e) + " is closed to this user: let it join the group of that device, as in 'usermod -aG gpio picloud', and restart the node"
}

// Is reports whether target is fs.ErrPermission.
func (closedError) Is(target error) bool { return target == fs.ErrPermission }

// number is that of a device, so that gpiochip10 comes behind gpiochip2.
func number(device string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(filepath.Base(device), "gpiochip"))
	return n
}

// explain words why a line was refused.
func (k kernel) explain(chip *os.File, offset uint32, name string, err error) error {
	l := unix.GPIOV2LineInfo{Offset: offset}
	if errors.Is(err, unix.EBUSY) && control(chip, unix.GPIO_V2_GET_LINEINFO_IOCTL, &l) == nil && l.Flags&flagUsed != 0 {
		return fmt.Errorf("the line %s is in use by %q: stop that, or choose another line", name, text(l.Consumer[:]))
	}
	return fmt.Errorf("take the line %s into use: %w", name, err)
}

// text is what the kernel writes into a field of fixed size.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// kernelLine is a line that the kernel has lent.
type kernelLine struct{ f *os.File }

func (l *kernelLine) get() (bool, error) {
	v := unix.GPIOV2LineValues{Mask: 1}
	err := control(l.f, unix.GPIO_V2_LINE_GET_VALUES_IOCTL, &v)
	return v.Bits&1 == 1, err
}

func (l *kernelLine) set(on bool) error {
	v := unix.GPIOV2LineValues{Mask: 1, Bits: bit(on)}
	return control(l.f, unix.GPIO_V2_LINE_SET_VALUES_IOCTL, &v)
}

// Close implements io.Closer.
func (l *kernelLine) Close() error { return l.f.Close() }

// kernelInput is one that tells its edges. Only one goroutine reads them.
type kernelInput struct {
	kernelLine
	kernelEdges
}

func newKernelInput(f *os.File) *kernelInput {
	return &kernelInput{kernelLine{f}, kernelEdges{f: f, clock: newKernelClock()}}
}

func (l *kernelInput) edges(list []edge) ([]edge, error) { return l.read(list) }

// control is ioctl(2), about something of the type that the request has.
func control[T any](f *os.File, request uint, about *T) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(request), uintptr(unsafe.Pointer(about))) // #nosec G103 -- the kernel's structures, as golang.org/x/sys has them
	runtime.KeepAlive(f)
	if errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}
