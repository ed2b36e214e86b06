package script

import (
	"fmt"
	"os"
	"runtime"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"
)

// sandboxEnv set to sandboxOff makes a worker do without the kernel's filter.
const (
	sandboxEnv = "PICLOUD_SCRIPT_SANDBOX"
	sandboxOff = "off"
)

// niceness of a worker: publishing comes first.
const niceness = 5

// lockIn gives up, for good, what a worker does not need: its share of memory
// and of the processor when others want it, capabilities, files, sockets and other
// programs.
func lockIn(filter bool) error {
	// A machine that is out of memory shall end a script rather than the node.
	// Without the right to say so it decides by itself.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, niceness) // becoming nicer is always allowed
	for _, l := range []struct {
		resource int
		limit    uint64
	}{{unix.RLIMIT_CORE, 0}, {unix.RLIMIT_FSIZE, 0}, {unix.RLIMIT_DATA, dataLimit}} {
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: l.limit, Max: l.limit}); err != nil {
			return fmt.Errorf("set a limit: %w", err)
		}
	}
	if err := dropCapabilities(); err != nil {
		return err
	}
	if !filter {
		return nil
	}
	err := seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionErrno,
			Syscalls: []seccomp.SyscallGroup{
				{Action: seccomp.ActionAllow, Names: allowed[runtime.GOARCH]},
				{Action: seccomp.ActionAllow, NamesWithCondtions: append(ownThreads(), threadsOnly...)},
				{Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS), Names: []string{"clone3"}}, // whose flags no filter can see: libc then takes clone
			},
		},
	})
	if err != nil {
		return fmt.Errorf("load the system call filter (a kernel with CONFIG_SECCOMP_FILTER is needed): %w", err)
	}
	return nil
}

// threadsOnly lets the runtime make threads, and no process.
var threadsOnly = []seccomp.NameWithConditions{{
	Name:       "clone",
	Conditions: []seccomp.Condition{{Argument: 0, Operation: seccomp.BitsSet, Value: unix.CLONE_THREAD}},
}}

// ownThreads lets the runtime interrupt its own threads, and signal no other process.
func ownThreads() []seccomp.NameWithConditions {
	return []seccomp.NameWithConditions{{
		Name:       "tgkill",
		Conditions: []seccomp.Condition{{Argument: 0, Operation: seccomp.Equal, Value: uint64(os.Getpid())}}, // #nosec G115 -- positive
	}}
}

// everywhere is what Go's runtime asks of the kernel on all architectures.
var everywhere = []string{
	"read", "write", "close", "munmap", "mprotect", "madvise", "mincore", "futex",
	"clock_gettime", "nanosleep", "clock_nanosleep", "sched_yield", "sched_getaffinity", "getrandom",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "gettid", "getpid",
	"restart_syscall", "exit", "exit_group", "gettimeofday", "membarrier", "rseq",
	"epoll_create1", "epoll_ctl", "epoll_pwait", "eventfd2", // of the runtime's poller; there is nothing to poll
}

// allowed adds what has another name, or none, on some of them.
var allowed = map[string][]string{
	"amd64": append([]string{"mmap", "time", "arch_prctl"}, everywhere...),
	"arm64": append([]string{"mmap"}, everywhere...),
	"arm":   append([]string{"mmap2", "sigreturn", "clock_gettime64", "futex_time64", "clock_nanosleep_time64", "set_tls", "cacheflush"}, everywhere...),
}
