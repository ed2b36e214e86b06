package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// server is one hub under measurement.
type server interface {
	name() string
	addr() *net.TCPAddr
	subscription() string // the request that opens a stream
	opened() string       // what shows that it has begun
	publication() string  // the head of a request that publishes, up to its length
	usage() (usage, error)
	stop()
}

// usage is what a server's process has used.
type usage struct {
	cpu time.Duration
	rss int64 // bytes
}

// process is a server that runs as a command on one core.
type process struct {
	label string
	cmd   *exec.Cmd
	at    *net.TCPAddr
	pid   int // of what serves: a worker, where there are some
	dir   string
}

func (p *process) name() string       { return p.label }
func (p *process) addr() *net.TCPAddr { return p.at }

func (p *process) stop() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	_ = p.cmd.Wait() // however it ends
	_ = os.RemoveAll(p.dir)
}

// usage reads what all threads have used.
func (p *process) usage() (usage, error) {
	var u usage
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.pid))
	if err != nil || len(threads) == 0 {
		return u, fmt.Errorf("%s has gone: %w", p.label, err)
	}
	for _, name := range threads {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		var ns int64
		if _, err := fmt.Sscan(string(text), &ns); err != nil {
			return u, err
		}
		u.cpu += time.Duration(ns)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.pid))
	if err != nil {
		return u, err
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return u, err
	}
	u.rss = resident * int64(os.Getpagesize())
	return u, nil
}

// run starts a command on the server's core and waits until it listens.
func run(label string, core int, port int, dir string, env []string, line ...string) (*process, error) {
	p := &process{label: label, at: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, dir: dir}
	p.cmd = exec.Command("taskset", append([]string{"-c", strconv.Itoa(core)}, line...)...)
	p.cmd.Env = append(os.Environ(), env...)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.pid = p.cmd.Process.Pid
	for range 500 {
		conn, err := net.DialTCP("tcp", nil, p.at)
		if err == nil {
			conn.Close()
			return p, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	text, _ := os.ReadFile(log.Name())
	p.stop()
	return nil, fmt.Errorf("%s does not listen: %s", label, text)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}

// picloud is the real binary: every event goes through the whole publish path
// and is fsynced before it is sent.
type picloud struct {
	*process

	key string
}

func startPicloud(binary string, core int) (server, error) {
	dir, err := os.MkdirTemp(".", "hubs-")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "s")
	p, err := run("picloud", core, port, dir, []string{
		"GOMAXPROCS=1", "PICLOUD_REALTIME_MAX_SUBSCRIBERS=100000", "PICLOUD_REALTIME_MAX_PER_ADDRESS=100000", "PICLOUD_SPOOL=off", "PICLOUD_LOG_LEVEL=warn",
	}, binary, "serve", "--data", filepath.Join(dir, "data"), "--socket", socket, "--listen", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	out, err := exec.Command(binary, "keys", "create", "--scope", "instance:admin", "--json", "--socket", socket).Output()
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("make a key: %w", err)
	}
	var made struct{ Key string }
	if err := json.Unmarshal(out, &made); err != nil {
		return nil, err
	}
	s := &picloud{process: p, key: made.Key}
	req, err := http.NewRequest(http.MethodPost, "http://"+p.at.String()+"/v1/apps/default/topics", bytes.NewReader([]byte(`{"name":"t","external":true,"auth_mode":"public"}`)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+made.Key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		return nil, fmt.Errorf("register a topic: %s", res.Status)
	}
	return s, nil
}

func (*picloud) subscription() string {
	return "GET /v1/apps/default/topics/t/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
}
func (*picloud) opened() string { return "event: hello" }
func (p *picloud) publication() string {
	return "POST /v1/apps/default/topics/t/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + p.key + "\r\nContent-Type: application/json\r\n"
}

// nchan is nginx with the nchan module, one worker.
type nchan struct{ *process }

const nchanConfig = `
load_module %s;
daemon off; worker_processes 1; worker_rlimit_nofile 65536; pid %s/pid; error_log %s/log error;
events { worker_connections 65536; }
http {
  access_log off; keepalive_requests 1000000000; nchan_shared_memory_size 256M;
  client_body_temp_path %s; proxy_temp_path %s; fastcgi_temp_path %s; uwsgi_temp_path %s; scgi_temp_path %s;
  server {
    listen 127.0.0.1:%d backlog=4096;
    location = /sub { nchan_subscriber eventsource; nchan_channel_id x; nchan_subscriber_first_message newest; }
    location = /pub { nchan_publisher; nchan_channel_id x; nchan_message_buffer_length 64; }
  }
}
`

func startNchan(core int) (server, error) {
	dir, err := os.MkdirTemp("", "hubs-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nchanConfig, "/usr/lib/nginx/modules/ngx_nchan_module.so", dir, dir, dir, dir, dir, dir, dir, port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	p, err := run("nchan", core, port, dir, nil, "nginx", "-c", config)
	if err != nil {
		return nil, err
	}
	master := strconv.Itoa(p.pid)
	for range 200 { // the master listens before its worker is there
		if out, err := exec.Command("pgrep", "-P", master).Output(); err == nil {
			p.pid, err = strconv.Atoi(strings.Fields(string(out))[0])
			return &nchan{p}, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.stop()
	return nil, fmt.Errorf("nginx has no worker")
}

func (*nchan) subscription() string {
	return "GET /sub HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
}
func (*nchan) opened() string { return "\r\n\r\n" }
func (*nchan) publication() string {
	return "POST /pub HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
}
