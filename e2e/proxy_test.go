package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// proxies start a proxy in front of a node. Their configurations are what is documented.
var proxies = map[string]func(t *testing.T, dir, listen, node string) *exec.Cmd{
	"nginx": func(t *testing.T, dir, listen, node string) *exec.Cmd {
		t.Helper()
		const location = "proxy_pass http://%[3]s; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
		conf := fmt.Sprintf("daemon off; master_process off; pid %[1]s/pid; error_log stderr;\nevents {}\nhttp {\n access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;\n server { listen %[2]s; location / { "+location+" } }\n}\n", dir, listen, node)
		file := filepath.Join(dir, "nginx.conf")
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		return exec.CommandContext(t.Context(), "nginx", "-c", file, "-p", dir, "-e", "stderr")
	},
	"caddy": func(t *testing.T, dir, listen, node string) *exec.Cmd {
		t.Helper()
		file := filepath.Join(dir, "Caddyfile")
		host, port, _ := strings.Cut(listen, ":")
		conf := fmt.Sprintf("{\n admin off\n auto_https off\n}\nhttp://:%s {\n bind %s\n reverse_proxy %s\n}\n", port, host, node)
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "caddy", "run", "--config", file, "--adapter", "caddyfile")
		cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
		return cmd
	},
}

// behind starts a proxy in front of n and returns the node as it is seen through it.
func behind(t *testing.T, n *node, name string) *node {
	t.Helper()
	listen := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	cmd := proxies[name](t, t.TempDir(), listen, n.listen)
	log := new(buffer)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	front := n2(n)
	front.url = "http://" + listen
	deadline := time.Now().Add(20 * time.Second)
	for {
		if a, err := front.request("GET", "/readyz", "", ""); err == nil && a.status == 200 {
			return front
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer\n%s", name, log)
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
				res, err := httpClient.Do(req)
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
