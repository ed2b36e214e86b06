package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const example = `# Changelog

## [Unreleased]

### Added

- Something new that is told in [docs/new.md](docs/new.md), and in so many words that its line has to be
  broken twice before it ends.

## [1.1.0] - 2027-02-03

### Upgrading

- Restart proxies.

### Fixed

- A fault.

## [1.0.0] - 2027-01-02

### Added

- The first.
`

func output(t *testing.T, args ...string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "CHANGELOG.md")
	if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := run(append(args, "-file", file, "-maintainer", "M <m@example.org>"), &out)
	return out.String(), err
}

// A build between releases has what is not released yet as its changes, below its own version.
func TestDebianChangelogOfADevelopmentBuild(t *testing.T) {
	t.Parallel()
	got, err := output(t, "debian", "-version", "1.1.1-dev.4+g0123abcd", "-date", "Thu, 04 Mar 2027 05:06:07 +0000")
	if err != nil {
		t.Fatal(err)
	}
	want := `picloud (1.1.1~dev.4+g0123abcd) stable; urgency=medium

  * Something new that is told in docs/new.md, and in so many words that its
    line has to be broken twice before it ends.

 -- M <m@example.org>  Thu, 04 Mar 2027 05:06:07 +0000

picloud (1.1.0) stable; urgency=medium

  * Restart proxies.
  * A fault.

 -- M <m@example.org>  Wed, 03 Feb 2027 00:00:00 +0000

picloud (1.0.0) stable; urgency=medium

  * The first.

 -- M <m@example.org>  Sat, 02 Jan 2027 00:00:00 +0000

`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// A release does not claim what comes after it, and NEWS has only what asks something of people.
func TestReleaseHasItsOwnSection(t *testing.T) {
	t.Parallel()
	got, err := output(t, "debian", "-version", "1.1.0", "-date", "Thu, 04 Mar 2027 05:06:07 +0000")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got, "Something new") || !strings.HasPrefix(got, "picloud (1.1.0)") || !strings.Contains(got, "04 Mar 2027") {
		t.Errorf("changes of 1.1.0:\n%s", got)
	}
	news, err := output(t, "news", "-version", "1.1.0", "-date", "Thu, 04 Mar 2027 05:06:07 +0000")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(news, "Restart proxies") || strings.Contains(news, "A fault") || strings.Contains(news, "1.0.0") {
		t.Errorf("news of 1.1.0:\n%s", news)
	}
	notes, err := output(t, "notes", "-version", "1.0.0")
	if err != nil || notes != "### Added\n\n- The first.\n" {
		t.Errorf("notes of 1.0.0: %q, %v", notes, err)
	}
}

// A release that the changelog does not know is refused.
func TestReleaseWithoutSectionIsRefused(t *testing.T) {
	t.Parallel()
	if got, err := output(t, "notes", "-version", "2.0.0"); err == nil {
		t.Errorf("notes of a version without section: %q", got)
	}
}
