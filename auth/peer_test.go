package auth

import (
	"net"
	"os"
	"os/user"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud"
)

// AU-3: the peer of the socket decides; nobody needs a password on the box.
func TestOwnProcessIsTheLocalOperator(t *testing.T) {
	t.Parallel()
	conn := dial(t)
	p, err := PeerPrincipal(conn, "no-such-group-here")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(picloud.LocalOperator(), p); diff != "" {
		t.Error(diff)
	}
}

func TestPeerOfTellsUserAndGroups(t *testing.T) {
	t.Parallel()
	raw, err := dial(t).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var p peer
	if cerr := raw.Control(func(fd uintptr) { p, err = peerOf(int(fd)) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	if int(p.uid) != os.Getuid() {
		t.Errorf("uid = %d, want %d", p.uid, os.Getuid())
	}
	own, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	want := map[uint32]bool{uint32(os.Getgid()): true}
	for _, g := range own {
		want[uint32(g)] = true
	}
	got := map[uint32]bool{}
	for _, g := range p.groups {
		got[g] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhoMayOperate(t *testing.T) {
	t.Parallel()
	const daemon, group = 990, 991
	for name, tc := range map[string]struct {
		peer   peer
		exists bool
		want   bool
	}{
		"root":                         {peer{uid: 0, groups: []uint32{0}}, true, true},
		"the daemon's user":            {peer{uid: daemon, groups: []uint32{5}}, true, true},
		"primary group":                {peer{uid: 1000, groups: []uint32{group}}, true, true},
		"supplementary group":          {peer{uid: 1000, groups: []uint32{4, group, 27}}, true, true},
		"somebody":                     {peer{uid: 1000, groups: []uint32{1000, 27}}, true, false},
		"somebody in root's group":     {peer{uid: 1000, groups: []uint32{0}}, true, false},
		"no such group, gid 0 for it":  {peer{uid: 1000, groups: []uint32{0}}, false, false},
		"no such group, same number":   {peer{uid: 1000, groups: []uint32{group}}, false, false},
		"nobody, without any group":    {peer{uid: 65534}, true, false},
		"the group's number as a user": {peer{uid: group, groups: []uint32{1000}}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gid := uint32(group)
			if !tc.exists {
				gid = 0
			}
			if got := tc.peer.mayOperate(daemon, gid, tc.exists); got != tc.want {
				t.Errorf("mayOperate = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestGroupIDFindsGroups(t *testing.T) {
	t.Parallel()
	g, err := user.LookupGroupId("0")
	if err != nil {
		t.Skip("this system has no list of groups:", err)
	}
	if id, ok := groupID(g.Name); !ok || id != 0 {
		t.Errorf("groupID(%q) = %d, %v", g.Name, id, ok)
	}
	if _, ok := groupID("no-such-group-here"); ok {
		t.Error("found a group that does not exist")
	}
}

// dial returns the server's end of a connection from this process to itself.
func dial(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
