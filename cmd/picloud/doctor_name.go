package main

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/keyfile"
)

// Where the multicast DNS service of the machine is, and what it announces.
const (
	avahiSocket  = "/run/avahi-daemon/socket"
	avahiService = "/etc/avahi/services/picloud.service"
)

// maxService bounds a service file of avahi in bytes.
const maxService = 64 << 10

// announced is what an avahi service file announces.
type announced struct {
	Services []struct {
		Type string `xml:"type"`
		Port int    `xml:"port"`
	} `xml:"service"`
}

// resolves reports whether avahi, which listens at the other end, finds a name. One that does not
// answer finds it.
func resolves(avahi net.Conn, name string) bool {
	_ = avahi.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintf(avahi, "RESOLVE-HOSTNAME %s\n", name); err != nil {
		return true
	}
	line, err := bufio.NewReader(avahi).ReadString('\n')
	return err != nil || !strings.HasPrefix(line, "-")
}

// nameFinding says under which name the network finds the node on a machine, whose host name is
// empty where it is unknown. It is no fault when there is none: its address always leads to it.
func nameFinding(cfg *daemon.Config, machine, socket, service string) finding {
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return finding{"name", true, "unknown: " + err.Error(), ""}
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return finding{"name", true, "only this machine reaches the node (listen = \"" + cfg.Listen + "\")", ""}
	}
	first, _, _ := strings.Cut(strings.ToLower(machine), ".")
	if first != "" && !daemon.IsHostName(first) {
		says := fmt.Sprintf("%q is no host name that a network can have", machine)
		return finding{"name", false, says, "Give the machine one of letters, digits and hyphens: sudo hostnamectl set-hostname my-pi"}
	}
	conn, err := net.DialTimeout("unix", socket, time.Second) //nolint:noctx // has a timeout
	switch {
	case errors.Is(err, fs.ErrPermission):
		return finding{"name", true, "unknown: avahi is closed to this user", ""}
	case err != nil:
		return finding{"name", true, "none: avahi does not run here, so that other machines find the node by its address alone", "For a name such as pi.local: sudo apt install avahi-daemon"}
	}
	defer func() { _ = conn.Close() }() // only asked
	if first == "" {
		return finding{"name", true, "unknown: the machine does not say its own", ""}
	}
	if !resolves(conn, first+".local") {
		return finding{"name", false, "avahi does not answer for " + first + ".local: it takes the host name when it starts", "sudo systemctl restart avahi-daemon"}
	}
	url := "http://" + first + ".local:" + port
	b, err := keyfile.Read(service, maxService)
	if errors.Is(err, fs.ErrNotExist) {
		return finding{"name", true, url + ", which is not announced to those that look for services", "The package brings " + service + "; 'sudo apt install --reinstall picloud' puts it back."}
	}
	var a announced
	if err == nil {
		err = xml.Unmarshal(b, &a)
	}
	if err != nil {
		return finding{"name", false, service + " cannot be read: " + err.Error(), "'sudo apt install --reinstall -o Dpkg::Options::=--force-confnew picloud' puts it back."}
	}
	for _, s := range a.Services {
		if s.Type == "_picloud._tcp" && strconv.Itoa(s.Port) != port {
			return finding{"name", false, fmt.Sprintf("avahi announces port %d, the node listens on %s", s.Port, port), "Write " + port + " as <port> into " + service + "; avahi notices by itself."}
		}
	}
	return finding{"name", true, url, ""}
}
