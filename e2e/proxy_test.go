package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picloud/picloud/logtest"
)

// proxies start a proxy in front of a node, over TLS. Their configurations are those of
// docs/proxies.md, with other addresses and files.
var proxies = map[string]func(t *testing.T, dir, listen, certificate, node string) *exec.Cmd{
	"nginx": func(t *testing.T, dir, listen, certificate, node string) *exec.Cmd {
		t.Helper()
		conf := recipe(t, "nginx",
			"listen 443 ssl;", "listen "+listen+" ssl;", "listen [::]:443 ssl;", "", "127.0.0.1:7420", node,
			"/etc/letsencrypt/live/cloud.example.org/fullchain.pem", filepath.Join(certificate, "server.crt"),
			"/etc/letsencrypt/live/cloud.example.org/privkey.pem", filepath.Join(certificate, "server.key"))
		conf = fmt.Sprintf("daemon off; master_process off; pid %[1]s/pid; error_log stderr;\nevents {}\nhttp {\naccess_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;\n%[2]s}\n", dir, conf)
		file := filepath.Join(dir, "nginx.conf")
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		return exec.CommandContext(t.Context(), "nginx", "-c", file, "-p", dir, "-e", "stderr")
	},
	"caddy": func(t *testing.T, dir, listen, certificate, node string) *exec.Cmd {
		t.Helper()
		host, port, _ := strings.Cut(listen, ":")
		conf := recipe(t, "caddy", "127.0.0.1:7420", node, "lb_try_duration 30s", "lb_try_duration 1s",
			"cloud.example.org {", fmt.Sprintf("https://:%s {\nbind %s\ntls %[3]s/server.crt %[3]s/server.key", port, host, certificate))
		file := filepath.Join(dir, "Caddyfile")
		if err := os.WriteFile(file, []byte("{\nadmin off\nauto_https off\n}\n"+conf), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "caddy", "run", "--config", file, "--adapter", "caddyfile")
		cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
		return cmd
	},
}

// recipe returns the configuration that docs/proxies.md has in a language, with texts that must
// be there replaced by others.
func recipe(t *testing.T, language string, oldNew ...string) string {
	t.Helper()
	b, err := os.ReadFile("../docs/proxies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(b), "\n```"+language+"\n")
	text, _, closed := strings.Cut(text, "```\n")
	if !ok || !closed {
		t.Fatalf("docs/proxies.md has no recipe in %s", language)
	}
	for i := 0; i < len(oldNew); i += 2 {
		if !strings.Contains(text, oldNew[i]) {
			t.Fatalf("the recipe for %s has no %q", language, oldNew[i])
		}
	}
	return strings.NewReplacer(oldNew...).Replace(text)
}

// behind starts a proxy in front of n and returns the node as it is seen through it.
func behind(t *testing.T, n *node, name string) *node {
	t.Helper()
	listen := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	certificate := filepath.Join(n.home, "tls-"+name)
	n.cli("tls", "self-signed", "--to", certificate)
	cmd := proxies[name](t, t.TempDir(), listen, certificate, n.listen)
	log := new(logtest.Buffer)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	front := seenOver(t, n, "https://"+listen, certificate)
	deadline := time.Now().Add(60 * time.Second)
	for {
		a, err := front.request("GET", "/readyz", "", "")
		if err == nil && a.status == 200 {
			return front
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %v %d %s\n%s", name, err, a.status, a.body, log)
		}
		pause(t.Context(), 50*time.Millisecond)
	}
}

// RT-1: through nginx and Caddy every event arrives at once, and a stream resumes after
// the node was killed.
func TestProxiesDoNotHoldBack(t *testing.T) {
	t.Parallel()
	for name := range proxies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNode(t)
			key := n.key("", "instance:admin")
			front := behind(t, n, name)
			const path = "/v1/apps/default/topics/a%2Fb/events"
			s := front.subscribe(key, path)
			s.want(t, "hello")
			var r receipt
			for i := range 5 {
				front.do(201, &r, "POST", path, key, fmt.Sprint(i))
				began := time.Now()
				f := s.want(t, "")
				if took := time.Since(began); f.ID != r.ID || took > time.Second {
					t.Errorf("event %s after %v, published was %s", f.ID, took, r.ID)
				}
			}
			n.kill()
			n.start()
			var later receipt
			n.do(201, &later, "POST", path, key, `"later"`)
			again := front.subscribe(key, path, "Last-Event-ID", r.ID)
			again.want(t, "hello")
			if f := again.want(t, ""); f.ID != later.ID {
				t.Errorf("resumed with %s, want %s", f.ID, later.ID)
			}
		})
	}
}

// The name that the browser asked for reaches the node through nginx and Caddy: those in
// http.allowed_hosts and those of the machine are answered, others are not.
func TestProxiesPassTheHost(t *testing.T) {
	t.Parallel()
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name := range proxies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNode(t, "PICLOUD_HTTP_ALLOWED_HOSTS=Cloud.example.org,*.pi.example.org", "PICLOUD_TRUSTED_PROXIES=127.0.0.1")
			front := behind(t, n, name)
			for host, want := range map[string]int{"cloud.example.org": 200, "a.pi.example.org": 200, "pi.example.org": 421, "evil.example": 421, machine: 200, strings.ToUpper(machine) + ".local": 200} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, front.url+"/readyz", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				req.Host = host
				res, err := front.client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close()
				if res.StatusCode != want {
					t.Errorf("Host %s: %d, want %d", host, res.StatusCode, want)
				}
			}
		})
	}
}

// n2 is the same node under another address.
func n2(n *node) *node {
	return &node{t: n.t, home: n.home, data: n.data, listen: n.listen, url: n.url}
}

// seenFrom is a node that is reached from an address of this machine.
func (n *node) seenFrom(t *testing.T, address string) *node {
	t.Helper()
	one := n2(n)
	one.url = n.url
	transport := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext}
	if n.client != nil {
		transport.TLSClientConfig = n.client.Transport.(*http.Transport).TLSClientConfig
	}
	t.Cleanup(transport.CloseIdleConnections)
	one.client = &http.Client{Transport: transport}
	return one
}

// OP-9: the address that a proxy tells counts when the proxy is trusted. What a client writes
// itself counts never, through a proxy or past it.
func TestForwardedAddresses(t *testing.T) {
	t.Parallel()
	for name := range proxies {
		for _, trusted := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, trusted %v", name, trusted), func(t *testing.T) {
				t.Parallel()
				env := []string{"PICLOUD_REALTIME_MAX_PER_ADDRESS=1"}
				if trusted {
					env = append(env, "PICLOUD_TRUSTED_PROXIES=127.0.0.1")
				}
				n := startNode(t, env...)
				key := n.key("", "instance:admin")
				front := behind(t, n, name)
				const path = "/v1/apps/default/topics/t/events"
				first, other := front.seenFrom(t, "127.0.0.2"), front.seenFrom(t, "127.0.0.3")
				first.subscribe(key, path).want(t, "hello")
				refused := func(what string, n *node, headers ...string) {
					t.Helper()
					a, err := n.request("GET", path, key, "", append(headers, "Accept", "text/event-stream")...)
					if err != nil || a.status != http.StatusTooManyRequests {
						t.Errorf("%s: %d, %v, want 429", what, a.status, err)
					}
				}
				if !trusted {
					refused("another address, through a proxy that is not trusted", other)
					return
				}
				refused("the same address", first, "X-Forwarded-For", "198.51.100.1")
				other.subscribe(key, path).want(t, "hello")
				refused("the same address past the proxy", n.seenFrom(t, "127.0.0.2"), "X-Forwarded-For", "198.51.100.1")
			})
		}
	}
}

// RT-6: while the node is away a browser's stream meets nothing that would end it for good, and
// goes on with its cursor when the node is there again.
func TestStreamsThroughProxiesOutliveTheNode(t *testing.T) {
	t.Parallel()
	for name := range proxies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNode(t)
			key := n.key("", "instance:admin")
			front := behind(t, n, name)
			const path = "/v1/apps/default/topics/t/events"
			var r, later receipt
			front.do(201, &r, "POST", path, key, "1")
			n.kill()
			resumed := make(chan frame, 1)
			var tries atomic.Int32
			go func() { // as the EventSource of a browser does
				defer close(resumed)
				for t.Context().Err() == nil {
					s, err := openStreamWith(t.Context(), front.client, front.url+path, key, "Last-Event-ID", r.ID)
					tries.Add(1)
					if _, lost := errors.AsType[*url.Error](err); lost {
						pause(t.Context(), 50*time.Millisecond)
						continue
					}
					if err != nil {
						t.Errorf("try %d: %v", tries.Load(), err)
						return
					}
					for f := range s.frames {
						if f.ID != "" {
							resumed <- f
							return
						}
					}
				}
			}()
			within(t, "streams that come back", func() bool { return tries.Load() > 2 })
			if a, err := front.request("GET", "/v1/node", key, ""); err != nil || a.status < 500 {
				t.Errorf("another request: %d, %v, want an answer", a.status, err)
			}
			n.start()
			n.do(201, &later, "POST", path, key, `"later"`)
			if f := <-resumed; f.ID != later.ID {
				t.Errorf("resumed with %+v, want %s", f, later.ID)
			}
		})
	}
}

// A file that is larger than proxies take by default passes.
func TestFilesPassProxies(t *testing.T) {
	t.Parallel()
	for name := range proxies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNode(t)
			key := n.key("", "instance:admin")
			front := behind(t, n, name)
			content := strings.Repeat("0123456789abcdef", 200_000)
			front.do(200, nil, "PUT", "/v1/apps/default/files/f", key, content)
			if a := front.do(200, nil, "GET", "/v1/apps/default/files/f", key, ""); string(a.body) != content {
				t.Errorf("%d bytes, want %d", len(a.body), len(content))
			}
		})
	}
}
