package store_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// OP-7: on a disk that cannot be written the node starts, serves what there is,
// refuses the rest and says so.
func TestReadOnlyDiskServesReading(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir})
	if _, err := s.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "t"}); err != nil {
		t.Fatal(err)
	}
	publish(t, s, "default", "t", `1`, `2`)
	want := history(t, s, "default", "t")
	killed := copyDir(t, dir) // was not stopped in good order: recovery would write
	s.stop(t)
	for name, d := range map[string]string{"stopped": dir, "killed": killed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if os.Getuid() != 0 {
				t.Skip("needs root to mount")
			}
			if err := unix.Mount(d, d, "", unix.MS_BIND, ""); err != nil {
				t.Fatalf("mount: %v", err)
			}
			defer func() { _ = unix.Unmount(d, unix.MNT_DETACH) }()
			if err := unix.Mount("", d, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				t.Fatalf("remount: %v", err)
			}
			r := start(t, store.Config{Dir: d})
			if got := history(t, r, "default", "t"); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("history %v, want %v", got, want)
			}
			if _, err := r.Topic("default", "t"); err != nil {
				t.Error(err)
			}
			_, err := r.Publish(t.Context(), picloud.Publication{App: "default", Drafts: []picloud.Draft{{Topic: "t", Data: []byte("1")}}})
			if !errors.Is(err, picloud.ErrReadOnly) {
				t.Errorf("publish: %v", err)
			}
			if h := r.Health(); !h.ReadOnly || !h.Degraded {
				t.Errorf("health %+v", h)
			}
			r.stop(t)
		})
	}
}
