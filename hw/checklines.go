package hw

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// LineFault is what is wrong with the line of a pin.
type LineFault struct {
	Pin int // index of the pin
	Err error
}

// ErrLinesUnknown says that the lines of this machine cannot be seen.
var ErrLinesUnknown = errors.New("the lines of this machine cannot be seen")

// CheckLines finds pins whose line this machine does not have, and pins that are one line
// under two names. It takes no line into use. Where there is no chip that this process may
// open, it returns ErrLinesUnknown: the configuration may be that of another machine.
func CheckLines(pins []PinConfig) ([]LineFault, error) { return kernel{dev: "/dev"}.check(pins) }

func (k kernel) check(pins []PinConfig) (faults []LineFault, err error) {
	if devices, _ := filepath.Glob(filepath.Join(k.dev, "gpiochip*")); len(devices) == 0 { // the pattern is sound
		return nil, ErrLinesUnknown
	}
	owners := map[string]int{}
	for i := range pins {
		place, err := k.place(pins[i].Line)
		switch {
		case errors.Is(err, fs.ErrPermission):
			return nil, ErrLinesUnknown
		case err != nil:
			faults = append(faults, LineFault{i, err})
			continue
		}
		if owner, taken := owners[place]; taken {
			faults = append(faults, LineFault{i, fmt.Errorf("its line %s is the line %s of the pin %s, and a line can have one use only", pins[i].Line, pins[owner].Line, pins[owner].Name)})
			continue
		}
		owners[place] = i
	}
	return faults, nil
}

// place names a line by its chip and offset.
func (k kernel) place(line string) (string, error) {
	chip, offset, err := k.find(line)
	if err != nil {
		return "", err
	}
	defer func() { _ = chip.Close() }() // only asked
	var info unix.GPIOChipInfo
	if err := control(chip, unix.GPIO_GET_CHIPINFO_IOCTL, &info); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s:%d", text(info.Name[:]), offset), nil
}
