package script_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/picloud/picloud/script"
)

// bomb is a script that means harm.
type bomb struct{ name, source string }

// timeBombs never end, or take very long, in as many ways as are known.
var timeBombs = []bomb{
	{"while true", `while(true){}`},
	{"try catch loop", `while(true){try{while(true){}}catch(e){}finally{continue}}`},
	{"microtask loop", `function f(){Promise.resolve().then(f)}; f(); await new Promise(()=>{})`},
	{"await loop", `while(true){await 0}`},
	{"regex", `/^(a+)+$/.test('a'.repeat(40)+'b')`},
	{"regex with a back reference", `/^(a+)+\1$/.test('a'.repeat(40)+'b')`},
	{"regex in replace", `'a'.repeat(60).replace(/(a*)*b/g,x=>x)`},
	{"fill", `Array(1e9).fill(0).length`},
	{"sort", `Array(5000000).fill(0).map((x,i)=>(i*7919)%5000011).sort().length`},
	{"repeat", `'x'.repeat(2**28).length`},
	{"split", `'ab'.repeat(2**24).split('a').length`},
	{"search in a long string", `'a'.repeat(2**20).indexOf('a'.repeat(2**19)+'b')`},
	{"power", `(7n**5000000n).toString().length`},
	{"stringify", `JSON.stringify(Array(3000000).fill({a:1})).length`},
	{"spread", `[...(function*(){while(true)yield 1})()].length`},
	{"from a length", `Array.from({length:2**32-2}).length`},
	{"sparse indexOf", `var a=[];a[4294967290]=1;a.indexOf(7)`},
	{"indexOf of what is like an array", `Array.prototype.indexOf.call({length:2**53-1},1)`},
	{"keys of a proxy", `var a={};for(var i=0;i<300000;i++)a['k'+i]=i; while(true)Object.keys(a)`},
}

// memoryBombs want all the memory there is.
var memoryBombs = []bomb{
	{"push", `var a=[];while(true)a.push({x:a.length})`},
	{"double", `var s='xxxxxxxxxxxxxxxx';while(true){s+=s; if(s.charCodeAt(s.length-1)==1)break}`},
	{"strings", `var a=[],i=0;while(true)a.push('abcdefghij'.repeat(100)+(i++))`},
	{"recursion", `function f(n){return 1+f(n+1)}; f(0)`},
	{"recursion in toString", `var a=[];a.toString=function(){return ''+[a]};''+a`},
	{"nested arrays", `var a=[];for(var i=0;i<2000000;i++)a=[a];''+a`},
	{"getter", `var o={get x(){return this.x}};o.x`},
	{"proxies", `var p={};for(var i=0;i<2000000;i++)p=new Proxy(p,{});p.x`},
	{"bind", `var f=function(){};for(var i=0;i<1000000;i++)f=f.bind(null);f()`},
	{"stringify nested", `var a=[];for(var i=0;i<1000000;i++)a=[a];JSON.stringify(a)`},
	{"parse nested", `JSON.parse('['.repeat(5000000))`},
	{"eval of brackets", `eval('['.repeat(5000000))`},
	{"eval of parentheses", `eval('('.repeat(3000000)+'1'+')'.repeat(3000000))`},
	{"eval of signs", `eval('-'.repeat(3).concat('!'.repeat(6000000))+'1')`},
	{"regex nested", `new RegExp('('.repeat(1000000)+')'.repeat(1000000)).test('a')`},
	{"regex repeated", `new RegExp('(?:a{0,1000}){0,1000}').test('b')`},
	{"one buffer", `new ArrayBuffer(4e9).byteLength`},
	{"buffers", `var a=[];while(true){var b=new Uint8Array(1<<24);b.fill(1);a.push(b)}`},
	{"fill", `Array(1e9).fill(1).length`},
	{"repeat", `'x'.repeat(2**30-30).length`},
	{"pad", `''.padEnd(2**30-30,'ab').length`},
	{"map", `var m=new Map(),i=0;while(true)m.set(i++,'v'+i)`},
	{"closures", `var a=[];function g(n){return function(){return n}};while(true)a.push(g(a.length))`},
	{"bigint", `var b=7n;while(true)b=b*b`},
	{"promises", `var a=[];while(true)a.push(new Promise(()=>{}))`},
	{"keys", `var o={},i=0;while(true)o['key'+(i++)]=i`},
	{"functions", `var a=[],i=0;while(true)a.push(new Function('return '+(i++)))`},
}

// TestBombs runs every bomb, at the top level of the script and in a handler that
// catches all it can, beside an app that behaves: the bomb ends with a clear
// error in time, the other app never fails, and what the node holds afterwards is
// what it held before. (SC-2)
func TestBombs(t *testing.T) {
	limit := 250 * time.Millisecond
	if os.Getenv(boardWorker) != "" {
		limit *= 10
	}
	h := &shelf{scripts: map[string]string{"good/main": `export default (n) => n + 1`}}
	r := newRunner(t, script.Config{Host: h, Workers: 2})
	before := heldBytes()
	stop, done := make(chan struct{}), make(chan struct{})
	var good atomic.Int64
	var slowest time.Duration
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			start := time.Now()
			res, err := r.Do(t.Context(), script.Job{App: "good", Script: "main", Input: []byte("1")})
			if err != nil || string(res.Output) != "2" {
				t.Errorf("the app that behaves got %s, %v", res.Output, err)
			}
			slowest = max(slowest, time.Since(start))
			good.Add(1)
		}
	}()
	var worst time.Duration
	reasons := map[script.Reason]int{}
	for _, kind := range [][]bomb{timeBombs, memoryBombs} {
		for _, b := range kind {
			for _, source := range []string{
				b.source + "\nexport default () => 1",
				"export default async () => { for (;;) try { " + b.source + "\nreturn } catch (e) { } }",
			} {
				h.mu.Lock()
				h.scripts["bad/main"] = source
				h.mu.Unlock()
				res, err := r.Do(t.Context(), script.Job{App: "bad", Script: "main", Limits: script.Limits{Time: limit}})
				reason := script.Reason("ended")
				if e := (*script.Error)(nil); errors.As(err, &e) {
					reason = e.Reason
					if e.Error() == "" {
						t.Errorf("%s: the error says nothing", b.name)
					}
				}
				if reason == script.ReasonCrash || reason == script.ReasonUnavailable || reason == script.ReasonMissing {
					t.Errorf("%s: %s: %v", b.name, reason, err)
				}
				reasons[reason]++
				worst = max(worst, res.Duration)
			}
		}
	}
	close(stop)
	<-done
	t.Logf("ends: %v; the longest took %v; %d runs of the other app, the longest took %v", reasons, worst, good.Load(), slowest)
	if after := heldBytes(); after > before+8<<20 {
		t.Errorf("the node held %d bytes, and holds %d afterwards", before, after)
	}
}

// heldBytes is what this process holds in heap and stacks.
func heldBytes() uint64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// TestFloods has scripts that flood the node with what they may do.
func TestFloods(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		source string
		reason script.Reason
	}{
		"lines": {`export default () => { for (;;) console.log("x".repeat(1000)) }`, script.ReasonTime},
		"calls": {`import { kv } from "picloud"; export default async () => { for (;;) try { await kv.get("x") } catch (e) { if (e.type === "too-many-calls") throw e } }`, script.ReasonThrown},
		"calls at once": {
			`import { kv } from "picloud"; export default async () => { const all = []; for (let i = 0; i < 3000; i++) all.push(kv.get("x")); await Promise.all(all) }`,
			script.ReasonThrown,
		},
		"one huge call": {`import { kv } from "picloud"; export default () => kv.set("x", "y".repeat(6e6))`, script.ReasonThrown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &shelf{scripts: map[string]string{"a/main": tt.source}}
			r := newRunner(t, script.Config{Host: h})
			var limits script.Limits
			if tt.reason == script.ReasonTime {
				limits.Time = time.Second
			}
			res, err := r.Do(t.Context(), script.Job{App: "a", Script: "main", Limits: limits})
			var e *script.Error
			if !errors.As(err, &e) || e.Reason != tt.reason {
				t.Fatalf("the run ended with %v, want %s", err, tt.reason)
			}
			kept := 0
			for _, l := range res.Lines {
				kept += len(l.Text)
			}
			if kept > script.DefaultLimits().Lines {
				t.Errorf("%d bytes of lines were kept", kept)
			}
			if res.Calls > 1000 {
				t.Errorf("%d calls were made", res.Calls)
			}
		})
	}
}

// TestWorkerIsLockedIn looks at a worker from outside: nothing but its end of the
// pair is open, the filter is on, and it has no environment to speak of.
//
//nolint:paralleltest // children of other tests are no workers
func TestWorkerIsLockedIn(t *testing.T) {
	h := &shelf{scripts: map[string]string{"a/main": `export default () => 1`}}
	r := newRunner(t, script.Config{Host: h})
	if _, err := r.Do(t.Context(), script.Job{App: "a", Script: "main"}); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, pid := range children(t) {
		found++
		status, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
		if err != nil {
			continue // of another test, and gone
		}
		wanted := []string{"Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t" + noCapability, "CapPrm:\t" + noCapability, "CapInh:\t" + noCapability, "CapAmb:\t" + noCapability}
		if os.Geteuid() == 0 {
			wanted = append(wanted, "CapBnd:\t"+noCapability)
		}
		for _, want := range wanted {
			if !strings.Contains(string(status), want) {
				t.Errorf("worker %s is not locked in: no %q in\n%s", pid, want, status)
			}
		}
		threads, err := filepath.Glob(filepath.Join("/proc", pid, "task/*/status"))
		if err != nil || len(threads) == 0 {
			t.Errorf("worker %s has no threads: %v", pid, err)
		}
		for _, thread := range threads {
			if status, err := os.ReadFile(thread); err == nil && !strings.Contains(string(status), "CapEff:\t"+noCapability) {
				t.Errorf("%s: a thread has capabilities:\n%s", thread, status)
			}
		}
		limits, err := os.ReadFile(filepath.Join("/proc", pid, "limits"))
		if err == nil && !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max file size 0 0") {
			t.Errorf("worker %s may write files: %s", pid, limits)
		}
	}
	if found == 0 {
		t.Error("no worker was found")
	}
}

// noCapability is an empty set of capabilities in the kernel's words.
const noCapability = "0000000000000000"

// children lists the workers of this process.
func children(t *testing.T) []string {
	t.Helper()
	var pids []string
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tasks {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, strings.Fields(string(b))...)
	}
	return pids
}

// TestLockedInProcessCanDoNothing tries, in a process that locked itself in as a
// worker does, what a script that has taken the engine over would try.
func TestLockedInProcessCanDoNothing(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "/proc/self/exe", probeArg).CombinedOutput()
	if err != nil {
		t.Fatalf("the probe ended with %v: %s", err, out)
	}
	want := "read a file: operation not permitted\nwrite a file: operation not permitted\nopen a socket: operation not permitted\n" +
		"start a program: operation not permitted\nfork: operation not permitted\nsignal the parent: operation not permitted\n" +
		"signal a thread of the parent: operation not permitted\nsignal a thread of its own: errno 0\n" +
		"become another user: operation not permitted\n"
	if string(out) != want {
		t.Errorf("a process that is locked in could do this:\n%swant:\n%s", out, want)
	}
}

const probeArg = "probe-the-lock"

// probe is what the process of that test does.
func probe() int {
	if err := script.LockIn(true); err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	try := func(what string, no syscall.Errno) { fmt.Fprintf(os.Stdout, "%s: %v\n", what, error(no)) }
	var group sync.WaitGroup
	for range 4 { // each needs a thread of its own
		group.Go(func() {
			runtime.LockOSThread()
			time.Sleep(time.Millisecond) //nolint:forbidigo // until the others have theirs
		})
	}
	group.Wait()
	path, _ := syscall.BytePtrFromString("/etc/hostname")
	at := uintptr(unsafe.Pointer(path))
	here := ^uintptr(99) // AT_FDCWD
	_, _, no := syscall.RawSyscall6(syscall.SYS_OPENAT, here, at, syscall.O_RDONLY, 0, 0, 0)
	try("read a file", no)
	_, _, no = syscall.RawSyscall6(syscall.SYS_OPENAT, here, at, syscall.O_WRONLY|syscall.O_CREAT, 0o600, 0, 0)
	try("write a file", no)
	_, _, no = syscall.RawSyscall(syscall.SYS_SOCKET, syscall.AF_INET, syscall.SOCK_STREAM, 0)
	try("open a socket", no)
	_, _, no = syscall.RawSyscall(syscall.SYS_EXECVE, at, 0, 0)
	try("start a program", no)
	_, _, no = syscall.RawSyscall(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0)
	try("fork", no)
	_, _, no = syscall.RawSyscall(syscall.SYS_KILL, uintptr(os.Getppid()), 0, 0)
	try("signal the parent", no)
	_, _, no = syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(os.Getppid()), uintptr(os.Getppid()), 0)
	try("signal a thread of the parent", no)
	_, _, no = syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), uintptr(syscall.Gettid()), 0)
	try("signal a thread of its own", no)
	_, _, no = syscall.RawSyscall(syscall.SYS_SETUID, 1, 0, 0)
	try("become another user", no)
	return 0
}
