package main

import (
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/board"
)

func (c *cli) hwHeaderCommand() *cobra.Command {
	return &cobra.Command{
		Use: "header", Short: "Draw the pins of the board's header and what is on them", Args: exactly(0),
		Long: "Draws the header as it lies on the board with pin 1 at the top left: number, name, what else the line\ncan be, what has it, and its level where the node has it. '-' is unknown: reading the level of a line\nthat the node does not have would change it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var h board.Header
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/node/board/header", nil, &h); err != nil {
				return err
			}
			if c.json {
				return c.print(h)
			}
			c.printf("%s", drawHeader(&h))
			return nil
		},
	}
}

// drawHeader draws a header for people.
func drawHeader(h *board.Header) string {
	var b strings.Builder
	if len(h.Pins) > 0 {
		title := unknown
		if h.Model != nil {
			title = plain(*h.Model)
		}
		if h.Chip != "" && !h.Simulated {
			title += ", chip " + plain(h.Chip)
		}
		b.WriteString(title + "\n\n")
	}
	cells := make([][]string, len(h.Pins))
	for i := range h.Pins {
		cells[i] = headerCells(&h.Pins[i])
	}
	widths := make([][]int, 2) // of the columns of the left and the right side
	for side := range widths {
		widths[side] = make([]int, 4)
		for i := side; i < len(cells); i += 2 {
			for k, cell := range cells[i] {
				widths[side][k] = max(widths[side][k], utf8.RuneCountInString(cell))
			}
		}
	}
	for i := 0; i+1 < len(cells); i += 2 {
		var line []string
		for k := 3; k >= 0; k-- {
			line = append(line, strings.Repeat(" ", widths[0][k]-utf8.RuneCountInString(cells[i][k]))+cells[i][k])
		}
		line = append(line, contactText(h.Pins[i].Number)+" "+contactText(h.Pins[i+1].Number))
		for k, cell := range cells[i+1] {
			line = append(line, cell+strings.Repeat(" ", widths[1][k]-utf8.RuneCountInString(cell)))
		}
		b.WriteString(strings.TrimRight(strings.Join(line, "  "), " ") + "\n")
	}
	for i := range h.Pins {
		if h.Pins[i].Fault != "" {
			b.WriteString("\n" + h.Pins[i].App + "/" + h.Pins[i].Pin + ": " + plain(h.Pins[i].Fault))
		}
	}
	if len(h.Pins) > 0 {
		b.WriteString("\n")
	}
	for _, m := range h.Missing {
		b.WriteString(m.What + ": " + plain(m.Why) + ". " + plain(m.Fix) + "\n")
	}
	return b.String()
}

// contactText is a contact with its number.
func contactText(n int) string { return fmt.Sprintf("(%2d)", n) }

// headerCells are name, function, use and level of a pin.
func headerCells(p *board.HeaderPin) []string {
	name := p.Name
	if p.Line != "" && p.Line != p.Name {
		name += " " + plain(p.Line)
	}
	return []string{name, p.Function, useText(p), levelText(p)}
}

// useText says what has a pin.
func useText(p *board.HeaderPin) string {
	switch p.Use {
	case board.UsePower, board.UseGround:
		return ""
	case board.UseInput, board.UseOutput:
		return string(p.Use) + " " + p.App + "/" + p.Pin
	case board.UseOther:
		if p.By == "" {
			return "used by the kernel"
		}
		return "used by " + plain(p.By)
	case board.UseFree, board.UseUnknown:
	}
	return string(p.Use)
}

func levelText(p *board.HeaderPin) string {
	switch {
	case p.Use == board.UsePower || p.Use == board.UseGround:
		return ""
	case p.High == nil:
		return "-"
	case *p.High:
		return "high"
	}
	return "low"
}
