package main

import (
	"bytes"
	"fmt"
	"slices"
)

// chart is groups of bars.
type chart struct {
	groups []group
}

type group struct {
	title string
	bars  []bar
}

type bar struct {
	name  string
	value float64
}

func (c *chart) add(title, name string, value float64) {
	i := slices.IndexFunc(c.groups, func(g group) bool { return g.title == title })
	if i < 0 {
		c.groups = append(c.groups, group{title: title})
		i = len(c.groups) - 1
	}
	c.groups[i].bars = append(c.groups[i].bars, bar{name, value})
}

// svg draws the bars, each group to one scale.
func (c *chart) svg(title string) []byte {
	const width, label, line, gap = 720, 90, 22, 34
	largest, height := 1.0, gap
	for _, g := range c.groups {
		height += gap + line*len(g.bars)
		for _, b := range g.bars {
			largest = max(largest, b.value)
		}
	}
	var s bytes.Buffer
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", width, height+8)
	fmt.Fprintf(&s, `<rect width="100%%" height="100%%" fill="white"/><text x="8" y="22" font-weight="bold">%s</text>`+"\n", title)
	y := gap
	for _, g := range c.groups {
		y += gap
		fmt.Fprintf(&s, `<text x="8" y="%d" fill="#555">%s</text>`+"\n", y-8, g.title)
		for _, b := range g.bars {
			color := "#9aa5a0"
			if b.name == "picloud" {
				color = "#0b7a4b"
			}
			long := b.value / largest * (width - label - 110)
			fmt.Fprintf(&s, `<text x="8" y="%d">%s</text><rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d">%.0f</text>`+"\n",
				y+line-8, b.name, label, y+2, max(long, 1), line-6, color, label+long+6, y+line-8, b.value)
			y += line
		}
	}
	s.WriteString("</svg>\n")
	return s.Bytes()
}
