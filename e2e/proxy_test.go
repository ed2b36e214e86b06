package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// RT-1: through nginx and Caddy as they come, every event arrives at once, and
// a stream resumes after the node was killed.
func TestProxiesDoNotHoldBack(t *testing.T) {
	t.Parallel()
	proxies := map[string]func(t *testing.T, dir, listen, node string) *exec.Cmd{
		"nginx": func(t *testing.T, dir, listen, node string) *exec.Cmd {
			t.Helper()
			conf := fmt.Sprintf("daemon off; master_process off; pid %[1]s/pid; error_log stderr;\nevents {}\nhttp {\n access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;\n server { listen %[2]s; location / { proxy_pass http://%[3]s; } }\n}\n", dir, listen, node)
			file := filepath.Join(dir, "nginx.conf")
			if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
				t.Fatal(err)
			}
			return exec.CommandContext(t.Context(), "nginx", "-c", file, "-p", dir, "-e", "stderr")
		},
		"caddy": func(t *testing.T, dir, listen, node string) *exec.Cmd {
			t.Helper()
			file := filepath.Join(dir, "Caddyfile")
			conf := fmt.Sprintf("{\n admin off\n auto_https off\n}\nhttp://%s {\n reverse_proxy %s\n}\n", listen, node)
			if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "caddy", "run", "--config", file, "--adapter", "caddyfile")
			cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
			return cmd
		},
	}
	for name, command := range proxies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNode(t)
			key := n.key("", "instance:admin")
			listen := fmt.Sprintf("127.0.0.1:%d", freePort(t))
			cmd := command(t, t.TempDir(), listen, n.listen)
			log := new(buffer)
			cmd.Stdout, cmd.Stderr = log, log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			front := *n2(n)
			front.url = "http://" + listen
			deadline := time.Now().Add(20 * time.Second)
			for {
				if a, err := front.request("GET", "/readyz", "", ""); err == nil && a.status == 200 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s does not answer\n%s", name, log)
				}
				pause(t.Context(), 50*time.Millisecond)
			}
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

// n2 is the same node under another address.
func n2(n *node) *node {
	return &node{t: n.t, home: n.home, data: n.data, listen: n.listen, url: n.url}
}
