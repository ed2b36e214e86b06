package auth

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
)

// DefaultGroup is the group whose members operate the node.
const DefaultGroup = "picloud"

// PeerPrincipal returns who is at the other end of a Unix socket, as the kernel
// noted when it connected. Root, the daemon's own user and members of group
// (empty: DefaultGroup) are the local operator; anybody else gets
// picloud.ErrForbidden. A group that does not exist has no members.
//
// Membership is that of the peer's process: a user added to the group logs in
// again for it to count, as everywhere else.
func PeerPrincipal(conn *net.UnixConn, group string) (picloud.Principal, error) {
	if group == "" {
		group = DefaultGroup
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return picloud.Principal{}, fmt.Errorf("ask for the peer of a socket: %w", err)
	}
	var p peer
	var perr error
	if err := raw.Control(func(fd uintptr) { p, perr = peerOf(int(fd)) }); err != nil {
		return picloud.Principal{}, fmt.Errorf("ask for the peer of a socket: %w", err)
	}
	if perr != nil {
		return picloud.Principal{}, fmt.Errorf("ask for the peer of a socket: %w", perr)
	}
	gid, exists := groupID(group)
	if !p.mayOperate(uint32(os.Getuid()), gid, exists) { // #nosec G115 -- a uid has 32 bits
		return picloud.Principal{}, picloud.ErrForbidden.Detailf("the socket is for root and members of the group %s: 'sudo usermod -aG %s $USER', then log in again", group, group)
	}
	return picloud.LocalOperator(), nil
}

// peer is what the kernel knows of the process at the other end.
type peer struct {
	uid    uint32
	groups []uint32 // primary and supplementary
}

// mayOperate reports whether p is root, the user own, or, when there is such a
// group, in the group gid.
func (p peer) mayOperate(own, gid uint32, exists bool) bool {
	return p.uid == 0 || p.uid == own || exists && slices.Contains(p.groups, gid)
}

func peerOf(fd int) (peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return peer{}, err
	}
	more, err := peerGroups(fd)
	if err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
		return peer{}, err
	}
	return peer{uid: cred.Uid, groups: append(more, cred.Gid)}, nil
}

// peerGroups returns the supplementary groups of the peer. The kernel says
// ERANGE and how much room it needs when the groups do not fit.
func peerGroups(fd int) ([]uint32, error) {
	groups := make([]uint32, 64)
	for {
		size := uint32(len(groups) * 4) // #nosec G115 -- a process has at most 65536 groups
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0) // #nosec G103 -- x/sys has no wrapper
		switch {
		case errno == unix.ERANGE && int(size) > len(groups)*4:
			groups = make([]uint32, size/4)
		case errno != 0:
			return nil, errno
		default:
			return groups[:size/4], nil
		}
	}
}

func groupID(name string) (uint32, bool) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, false
	}
	id, err := strconv.ParseUint(g.Gid, 10, 32)
	return uint32(id), err == nil
}
