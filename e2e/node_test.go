package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/picloud/picloud/logtest"
)

// node is one data directory and the daemon that runs, or does not run, on it.
type node struct {
	t      testing.TB
	home   string // what is not the data directory: socket, race reports
	data   string
	listen string
	url    string
	env    []string
	args   []string
	uid    uint32       // not 0: run the daemon as this user
	wrap   []string     // a command that runs the daemon; empty: none
	passes []*os.File   // descriptors 3 and up of the daemon
	plain  bool         // run the binary without the race detector
	output *os.File     // where the daemon writes; nil: its log is kept
	client *http.Client // for requests and streams; nil: the usual ones

	mu   sync.Mutex
	proc *process
}

// process is one run of the daemon.
type process struct {
	cmd    *exec.Cmd
	log    *logtest.Buffer
	exited chan struct{} // closed when it has ended and its code is known
	code   int
}

var nextPort atomic.Int32

// freePort returns a port below the range that outgoing connections take, so
// that it is still free when a killed daemon comes back to it.
func freePort(tb testing.TB) int {
	tb.Helper()
	for range 2000 {
		port := 20000 + (os.Getpid()*37+int(nextPort.Add(1)))%12000
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			l.Close()
			return port
		}
	}
	tb.Fatal("no free port")
	return 0
}

// newNode makes a node that is not started. Its folders have short names,
// because a Unix socket's path may have 107 bytes at most.
func newNode(tb testing.TB, env ...string) *node {
	tb.Helper()
	home, err := os.MkdirTemp("", "pc-") //nolint:usetesting // the name of a socket must be short
	if err != nil {
		tb.Fatal(err)
	}
	n := &node{
		t: tb, home: home, data: filepath.Join(home, "data"), env: env,
		listen: fmt.Sprintf("127.0.0.1:%d", freePort(tb)),
	}
	n.url = "http://" + n.listen
	tb.Cleanup(func() {
		n.kill()
		n.checkRaces()
		os.RemoveAll(home)
	})
	return n
}

// startNode makes a node and starts it.
func startNode(tb testing.TB, env ...string) *node {
	tb.Helper()
	n := newNode(tb, env...)
	n.start()
	return n
}

func (n *node) socket() string { return filepath.Join(n.home, "s") }

// environ is the environment of daemon and commands: nothing of the caller's
// PICLOUD_ variables leaks in.
func (n *node) environ() []string {
	env := []string{
		"PATH=" + binDir + ":" + os.Getenv("PATH"),
		"HOME=" + n.home,
		"PICLOUD_DATA=" + n.data,
		"PICLOUD_LISTEN=" + n.listen,
		"PICLOUD_SOCKET=" + n.socket(),
		"GORACE=atexit_sleep_ms=0 log_path=" + filepath.Join(n.home, "race"),
	}
	return append(env, n.env...)
}

// launch starts the daemon and does not wait for it.
func (n *node) launch() *process {
	n.t.Helper()
	name := binary
	if n.plain {
		name = plainBinary(n.t)
	}
	line := append(append(slices.Clone(n.wrap), name, "serve"), n.args...)
	p := &process{cmd: exec.Command(line[0], line[1:]...), log: new(logtest.Buffer), exited: make(chan struct{})}
	p.cmd.Env = n.environ()
	p.cmd.ExtraFiles = n.passes
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if n.output != nil {
		p.cmd.Stdout, p.cmd.Stderr = n.output, n.output
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if n.uid != 0 {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: n.uid, Gid: n.uid}
	}
	if err := p.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		p.code = p.cmd.ProcessState.ExitCode()
		close(p.exited)
	}()
	n.mu.Lock()
	n.proc = p
	n.mu.Unlock()
	return p
}

// start starts the daemon and waits until it serves.
func (n *node) start() *process {
	n.t.Helper()
	p := n.launch()
	if err := n.ready(p, 30*time.Second); err != nil {
		n.t.Fatalf("%v\n%s", err, p.log)
	}
	return p
}

// ready waits until /readyz says yes.
func (n *node) ready(p *process, limit time.Duration) error {
	deadline := time.After(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.exited:
			return fmt.Errorf("the daemon ended with code %d before it served", p.code)
		case <-deadline:
			return errors.New("the daemon is not ready in time")
		case <-tick.C:
		}
		res, err := httpClient.Get(n.url + "/readyz")
		if err != nil {
			continue
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return nil
		}
	}
}

func (n *node) process() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc
}

// kill ends the daemon as a power cut would, as far as a process can tell.
func (n *node) kill() {
	p := n.process()
	if p == nil {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // the group: a command may be wrapped around it
	<-p.exited
}

// stop asks the daemon to stop and returns its exit code.
func (n *node) stop() int {
	n.t.Helper()
	p := n.process()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines, into the log
		<-p.exited
		n.t.Fatalf("the daemon did not stop within 30 s\n%s", p.log)
	}
	return p.code
}

// checkRaces fails the test when a run of the binary reported a data race.
func (n *node) checkRaces() {
	reports, _ := filepath.Glob(filepath.Join(n.home, "race*"))
	for _, r := range reports {
		b, _ := os.ReadFile(r)
		n.t.Errorf("data race:\n%s", b)
	}
}

// run runs one of the operator's commands.
func (n *node) run(stdin string, args ...string) (stdout, stderr string, code int) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = n.environ()
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		n.t.Fatalf("picloud %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// cli runs a command that must succeed and returns what it printed.
func (n *node) cli(args ...string) string {
	n.t.Helper()
	out, errs, code := n.run("", args...)
	if code != 0 {
		n.t.Fatalf("picloud %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// key makes an API key; app "" is the instance.
func (n *node) key(app string, scopes ...string) string {
	n.t.Helper()
	args := []string{"keys", "create", "--json"}
	if app != "" {
		args = append(args, "--app", app)
	} else {
		args = append(args, "--instance")
	}
	for _, s := range scopes {
		args = append(args, "--scope", s)
	}
	var k struct{ Key string }
	if err := json.Unmarshal([]byte(n.cli(args...)), &k); err != nil || k.Key == "" {
		n.t.Fatalf("keys create: no key in the answer (%v)", err)
	}
	return k.Key
}

var httpClient = &http.Client{
	Timeout:   20 * time.Second,
	Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
}

// answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// request makes one request; headers are pairs of name and value.
func (n *node) request(method, path, key, body string, headers ...string) (answer, error) {
	req, err := http.NewRequest(method, n.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := cmp.Or(n.client, httpClient).Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, b}, err
}

// do makes a request that must be answered with status, and decodes the
// answer into v unless v is nil.
func (n *node) do(status int, v any, method, path, key, body string, headers ...string) answer {
	n.t.Helper()
	a, err := n.request(method, path, key, body, headers...)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	if a.status != status {
		n.t.Fatalf("%s %s: status %d, want %d\n%s", method, path, a.status, status, a.body)
	}
	if v != nil {
		if err := json.Unmarshal(a.body, v); err != nil {
			n.t.Fatalf("%s %s: %v\n%s", method, path, err, a.body)
		}
	}
	return a
}

// receipt is the answer to a publish.
type receipt struct {
	ID          string `json:"id"`
	Topic       string `json:"topic"`
	PublishedAt string `json:"published_at"`
	Durability  string `json:"durability"`
}

// event is one event of a history.
type event struct {
	receipt
	Data   json.RawMessage `json:"data"`
	Source string          `json:"source"`
}

// history reads all retained events of topics, oldest first, and checks that
// positions strictly rise.
func (n *node) history(key, app string, topics ...string) []event {
	n.t.Helper()
	all, err := n.readHistory(key, app, topics...)
	if err != nil {
		n.t.Fatal(err)
	}
	return all
}

func (n *node) readHistory(key, app string, topics ...string) ([]event, error) {
	var all []event
	path := "/v1/apps/" + app + "/events?since=all&limit=1000&topic=" + strings.Join(topics, "&topic=")
	for path != "" {
		a, err := n.request("GET", path, key, "", "Accept", "application/json")
		if err != nil {
			return nil, err
		}
		var page struct {
			Events []event `json:"events"`
			Next   *string `json:"next"`
		}
		if err := json.Unmarshal(a.body, &page); err != nil || a.status != http.StatusOK {
			return nil, fmt.Errorf("GET %s: status %d: %s", path, a.status, a.body)
		}
		all = append(all, page.Events...)
		path = ""
		if page.Next != nil {
			path = *page.Next
		}
	}
	for i := 1; i < len(all); i++ {
		if seqOf(n.t, all[i-1].ID) >= seqOf(n.t, all[i].ID) {
			return nil, fmt.Errorf("history is out of order: %s comes before %s", all[i-1].ID, all[i].ID)
		}
	}
	return all, nil
}

// howOften returns the number in a variable, or the usual one.
func howOften(t *testing.T, variable string, usual int) int {
	t.Helper()
	s := os.Getenv(variable)
	if s == "" {
		return usual
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}
