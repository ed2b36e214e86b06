package script

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dropCapabilities gives up all capabilities, which a worker has when the daemon runs as
// root, and the ways to get any: no thread of the process has one afterwards, nor a
// program that it would execute.
func dropCapabilities() error {
	held, err := capabilities()
	if err != nil || held == ([2]unix.CapUserData{}) {
		return err
	}
	each := func(trap, a, b, c, d, e uintptr) syscall.Errno {
		_, _, no := syscall.AllThreadsSyscall6(trap, a, b, c, d, e, 0)
		return no
	}
	// A program with cgo, such as one that looks for data races, cannot do it for all its
	// threads: it does it for one, and executes itself, which leaves only that.
	single := each(unix.SYS_GETPID, 0, 0, 0, 0, 0) == unix.ENOTSUP
	if single {
		runtime.LockOSThread()
		each = func(trap, a, b, c, d, e uintptr) syscall.Errno {
			_, _, no := syscall.RawSyscall6(trap, a, b, c, d, e, 0)
			return no
		}
	}
	for capability := uintptr(0); ; capability++ {
		no := each(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
		if no == unix.EINVAL { // the kernel knows no more
			break
		}
		if no != 0 && no != unix.EPERM { // without CAP_SETPCAP the bound stays, and no_new_privs closes the way
			return fmt.Errorf("drop a capability from the bounding set: %w", no)
		}
	}
	if no := each(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); no != 0 {
		return fmt.Errorf("drop the ambient capabilities: %w", no)
	}
	if no := each(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); no != 0 {
		return fmt.Errorf("renounce new privileges: %w", no)
	}
	header, none := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
	no := each(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0, 0, 0) // #nosec G103 -- what the call takes
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&none)
	if no != 0 {
		return fmt.Errorf("drop the capabilities: %w", no)
	}
	if single {
		return fmt.Errorf("execute the worker again: %w", unix.Exec("/proc/self/exe", os.Args, os.Environ()))
	}
	if held, err = capabilities(); err == nil && held != ([2]unix.CapUserData{}) {
		err = errors.New("capabilities are left")
	}
	return err
}

// capabilities are those of the calling thread.
func capabilities() (sets [2]unix.CapUserData, err error) {
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &sets[0]); err != nil {
		return sets, fmt.Errorf("read the capabilities: %w", err)
	}
	return sets, nil
}
