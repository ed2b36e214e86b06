package hw

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// chipLines is a GPIO chip with its lines.
type chipLines struct {
	name, label string // gpiochip0, pinctrl-bcm2711
	lines       []lineState
}

// lineState is what can be known of a line without taking it into use.
type lineState struct {
	name     string
	consumer string // by which name the one has it that uses it
	used     bool
	output   bool
}

// lister lists the lines of the first chip with one of some labels, without touching any:
// a line that is requested, and given back, may be an input afterwards.
type lister interface {
	list(labels []string) (chipLines, error)
}

// errNoChip is that there is none with such a label.
var errNoChip = errors.New("no GPIO chip that a header is wired to can be seen")

func (k kernel) list(labels []string) (chipLines, error) {
	devices, _ := filepath.Glob(filepath.Join(k.dev, "gpiochip*")) // the pattern is sound
	slices.SortFunc(devices, func(a, b string) int { return number(a) - number(b) })
	for _, device := range devices {
		chip, err := listChip(device, labels)
		if !errors.Is(err, errNoChip) {
			return chip, err
		}
	}
	return chipLines{}, errNoChip
}

func listChip(device string, labels []string) (chip chipLines, err error) {
	f, err := os.OpenFile(device, os.O_RDONLY, 0) // #nosec G304 -- a device of the kernel
	if errors.Is(err, fs.ErrPermission) {
		return chip, fmt.Errorf("%s is closed to this user", device)
	}
	if err != nil {
		return chip, err
	}
	defer func() { _ = f.Close() }() // only read
	var info unix.GPIOChipInfo
	if err := control(f, unix.GPIO_GET_CHIPINFO_IOCTL, &info); err != nil {
		return chip, err
	}
	chip = chipLines{name: text(info.Name[:]), label: text(info.Label[:])}
	if !slices.Contains(labels, chip.label) {
		return chip, errNoChip
	}
	for i := range info.Lines {
		l := unix.GPIOV2LineInfo{Offset: i}
		if err := control(f, unix.GPIO_V2_GET_LINEINFO_IOCTL, &l); err != nil {
			return chip, err
		}
		chip.lines = append(chip.lines, lineState{
			name: text(l.Name[:]), consumer: text(l.Consumer[:]), used: l.Flags&flagUsed != 0, output: l.Flags&flagOutput != 0,
		})
	}
	return chip, nil
}

// simLabel is the label of the simulated chip.
const simLabel = "simulated"

// simLines is how many lines the simulated chip has: those of a header.
const simLines = 28

// simChip lists the lines of the simulated chip.
func simChip() chipLines {
	chip := chipLines{name: simLabel, label: simLabel, lines: make([]lineState, simLines)}
	for i := range chip.lines {
		chip.lines[i].name = fmt.Sprintf("GPIO%d", i)
	}
	return chip
}
