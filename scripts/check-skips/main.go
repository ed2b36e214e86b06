// Command check-skips reads the output of `go test -json` on standard input,
// shows what a person wants to see of it, and fails when a test failed or was
// skipped without being on the list of allowed skips.
//
// It is for scripts/test. It does not run tests.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	allow := flag.String("allow", "", "file of allowed skips: package/TestName and a reason, one a line")
	summary := flag.String("summary", "", "file to append each package's result line to")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *allow, *summary); err != nil {
		fmt.Fprintln(os.Stderr, "check-skips:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, allowFile, summaryFile string) error {
	allowed, err := readAllowed(allowFile)
	if err != nil {
		return err
	}
	r := &reader{out: out, allowed: allowed, output: make(map[string][]string)}
	if err := r.read(in); err != nil {
		return err
	}
	if summaryFile != "" {
		if err := appendLines(summaryFile, r.results); err != nil {
			return err
		}
	}
	return r.verdict()
}

// event is one line of `go test -json`.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
}

// reader holds what has been seen so far.
type reader struct {
	out     io.Writer
	allowed map[string]string
	output  map[string][]string // lines of tests that have not ended yet
	results []string            // "ok …" and "FAIL …", one a package
	skipped []string            // not allowed
	failed  int
	passed  int
}

func (r *reader) read(in io.Reader) error {
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 64<<20)
	for sc.Scan() {
		var e event
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			// Not everything go test prints is JSON.
			fmt.Fprintln(r.out, sc.Text())
			continue
		}
		r.event(e)
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("read test output: %w", err)
	}
	return nil
}

func (r *reader) event(e event) {
	id := e.Package + "/" + e.Test
	switch e.Action {
	case "output":
		if e.Test != "" {
			r.output[id] = append(r.output[id], e.Output)
			return
		}
		r.packageLine(e.Output)
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "build-fail":
		r.failed++
	case "pass":
		delete(r.output, id)
		if e.Test != "" {
			r.passed++
		}
	case "fail":
		if e.Test == "" && e.Package != "" {
			// A test that never ended (panic, timeout) has no line of its own.
			for id, lines := range r.output {
				if strings.HasPrefix(id, e.Package+"/") {
					fmt.Fprint(r.out, strings.Join(lines, ""))
					delete(r.output, id)
				}
			}
		}
		r.failed++
		fmt.Fprint(r.out, strings.Join(r.output[id], ""))
		delete(r.output, id)
	case "skip":
		r.skip(e, id)
		delete(r.output, id)
	}
}

func (r *reader) packageLine(line string) {
	fmt.Fprint(r.out, line)
	for _, prefix := range []string{"ok ", "FAIL\t", "? "} {
		if strings.HasPrefix(line, prefix) {
			r.results = append(r.results, line)
		}
	}
}

func (r *reader) skip(e event, id string) {
	if e.Test == "" { // a package without tests
		return
	}
	if reason, ok := r.allowed[id]; ok {
		fmt.Fprintf(r.out, "--- SKIP: %s (allowed: %s)\n", id, reason)
		return
	}
	fmt.Fprint(r.out, strings.Join(r.output[id], ""))
	r.skipped = append(r.skipped, id)
}

func (r *reader) verdict() error {
	var errs []error
	if r.failed > 0 {
		errs = append(errs, errors.New("tests failed"))
	}
	slices.Sort(r.skipped)
	for _, id := range r.skipped {
		errs = append(errs, fmt.Errorf("%s was skipped and is not on the list of allowed skips", id))
	}
	if r.passed == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("no test ran"))
	}
	return errors.Join(errs...)
}

func readAllowed(file string) (map[string]string, error) {
	allowed := make(map[string]string)
	if file == "" {
		return allowed, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the allowed skips: %w", err)
	}
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, reason, _ := strings.Cut(line, " ")
		name, more, tab := strings.Cut(name, "\t")
		if tab {
			reason = more + " " + reason
		}
		if reason = strings.TrimSpace(reason); reason == "" {
			return nil, fmt.Errorf("%s:%d: %s has no reason", file, i+1, name)
		}
		allowed[name] = reason
	}
	return allowed, nil
}

func appendLines(file string, lines []string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the summary: %w", err)
	}
	if _, err := f.WriteString(strings.Join(lines, "")); err != nil {
		return errors.Join(fmt.Errorf("write the summary: %w", err), f.Close())
	}
	return f.Close()
}
