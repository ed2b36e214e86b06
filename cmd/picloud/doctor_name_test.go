package main

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/picloud/picloud/daemon"
)

// OP-9: doctor says whether the network finds the node by a name, and whether what is announced
// is true.
func TestNameFinding(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket, service := filepath.Join(dir, "s"), filepath.Join(dir, "picloud.service")
	cfg, machine := daemon.DefaultConfig(), "Pi.example.org"
	expect := func(ok bool, says string) {
		t.Helper()
		if f := nameFinding(&cfg, machine, socket, service); f.OK != ok || !strings.Contains(f.Says+" "+f.Fix, says) {
			t.Errorf("%+v, want %v and %q", f, ok, says)
		}
	}
	expect(true, "sudo apt install avahi-daemon")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }() // nothing is left to do
	answers := make(chan string, 1)
	go func() { // as avahi does: a question a line, an answer a line
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(conn).ReadString('\n')
			_, _ = conn.Write([]byte(<-answers + "\n"))
			_ = conn.Close()
		}
	}()
	expectWith := func(answer string, ok bool, says string) {
		t.Helper()
		answers <- answer
		expect(ok, says)
	}
	const found = "+ 2 0 pi.local 192.168.1.20"
	expectWith("-15 Timeout reached", false, "systemctl restart avahi-daemon")
	expectWith(found, true, "not announced")
	text, err := os.ReadFile("../../packaging/avahi/picloud.service")
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(service, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(string(text))
	expectWith(found, true, "http://pi.local:7420")
	cfg.Listen = ":8080"
	expectWith(found, false, "announces port 7420, the node listens on 8080")
	write(strings.ReplaceAll(string(text), "7420", "8080"))
	expectWith(found, true, "http://pi.local:8080")
	write("rubbish")
	expectWith(found, false, "cannot be read")
	if err := os.Remove(service); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(service, 0o600); err != nil {
		t.Fatal(err)
	}
	expectWith(found, false, "no regular file")
	machine = "my pi"
	expect(false, `"my pi" is no host name`)
	cfg.Listen = "127.0.0.1:7420"
	expect(true, "only this machine")
}
