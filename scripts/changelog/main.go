// Command changelog turns CHANGELOG.md into the files of a Debian package and the notes of a release:
//
//	changelog debian -version 1.2.0 -date DATE    debian/changelog: the version, then the releases before it
//	changelog news -version 1.2.0 -date DATE      debian/NEWS: what "Upgrading" says of each; nothing where it says nothing
//	changelog notes -version 1.2.0                the section of that release; without one it fails
//
// It is for scripts/deb and scripts/release. A version that has no section, as between releases, takes [Unreleased].
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "changelog:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("changelog", flag.ContinueOnError)
	file := flags.String("file", "CHANGELOG.md", "the changelog")
	version := flags.String("version", "", "version of the package or release")
	date := flags.String("date", "", "its date, as in mails: Mon, 2 Jan 2006 15:04:05 -0700")
	maintainer := flags.String("maintainer", "", "name and address of the maintainer of the package")
	if len(args) == 0 {
		return fmt.Errorf("say what to print: debian, news or notes")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	text, err := os.ReadFile(*file)
	if err != nil {
		return fmt.Errorf("read the changelog: %w", err)
	}
	sections, err := parse(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", *file, err)
	}
	if args[0] == "notes" {
		for _, s := range sections {
			if s.version == *version {
				fmt.Fprintln(out, strings.TrimSpace(s.text))
				return nil
			}
		}
		return fmt.Errorf("%s has no section [%s]", *file, *version)
	}
	history := upTo(sections, *version, *date)
	switch args[0] {
	case "debian":
		writeEntries(out, history, *maintainer, func(s *section) []string { return s.items("") })
	case "news":
		writeEntries(out, history, *maintainer, func(s *section) []string { return s.items("Upgrading") })
	default:
		return fmt.Errorf("%q: print debian, news or notes", args[0])
	}
	return nil
}

// section is what the changelog says of one version.
type section struct {
	version string // empty: not released yet
	date    string // as in mails
	text    string // Markdown below the heading
}

var heading = regexp.MustCompile(`(?m)^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?[ \t]*$`)

func parse(text string) ([]section, error) {
	var sections []section
	found := heading.FindAllStringSubmatchIndex(text, -1)
	for i, at := range found {
		s := section{version: text[at[2]:at[3]]}
		end := len(text)
		if i+1 < len(found) {
			end = found[i+1][0]
		}
		s.text = text[at[1]:end]
		if s.version == "Unreleased" {
			s.version = ""
			sections = append(sections, s)
			continue
		}
		if at[4] < 0 {
			return nil, fmt.Errorf("the section [%s] has no date", s.version)
		}
		day, err := time.Parse(time.DateOnly, text[at[4]:at[5]])
		if err != nil {
			return nil, fmt.Errorf("the section [%s]: %w", s.version, err)
		}
		s.date = day.Format(time.RFC1123Z)
		sections = append(sections, s)
	}
	if len(sections) == 0 {
		return nil, fmt.Errorf("there is no section")
	}
	return sections, nil
}

// upTo returns the section of version, or what is not released under its name, and the releases before it.
func upTo(sections []section, version, date string) []section {
	var history []section
	for _, s := range sections {
		switch s.version {
		case version:
			history = nil
		case "":
			s.version = version
		}
		if s.version == version {
			s.date = date
		}
		history = append(history, s)
	}
	return history
}

var (
	item = regexp.MustCompile(`(?m)^- (.*(?:\n  .*)*)`)
	link = regexp.MustCompile(`\[([^\]]+)\]\([^)]+\)`)
)

// items returns the points of a section, or of one part of it, as plain text.
func (s *section) items(part string) []string {
	text := s.text
	if part != "" {
		_, after, found := strings.Cut(text, "\n### "+part+"\n")
		if !found {
			return nil
		}
		text, _, _ = strings.Cut(after, "\n### ")
	}
	var items []string
	for _, m := range item.FindAllStringSubmatch(text, -1) {
		items = append(items, strings.Join(strings.Fields(link.ReplaceAllString(m[1], "$1")), " "))
	}
	return items
}

func writeEntries(out io.Writer, history []section, maintainer string, items func(*section) []string) {
	for i := range history {
		s := &history[i]
		points := items(s)
		if len(points) == 0 {
			continue
		}
		fmt.Fprintf(out, "picloud (%s) stable; urgency=medium\n\n", strings.Replace(s.version, "-", "~", 1))
		for _, p := range points {
			fmt.Fprint(out, wrap(p))
		}
		fmt.Fprintf(out, "\n -- %s  %s\n\n", maintainer, s.date)
	}
}

// width is that of a line of a Debian changelog.
const width = 78

// wrap makes a text one item of a Debian changelog.
func wrap(text string) string {
	var b strings.Builder
	line := "  *"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = "   "
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
	return b.String()
}
