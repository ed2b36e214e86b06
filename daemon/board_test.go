package daemon

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud/board"
)

// OP-5, HW-1, HW-6: the health of the board is in the metrics; what is unknown is not there.
func TestMetricsOfTheBoard(t *testing.T) {
	t.Parallel()
	written := func(r board.Report) []string {
		var b bytes.Buffer
		writeBoard(&b, r)
		return strings.Split(strings.TrimSpace(b.String()), "\n")
	}
	unknown := []string{
		"picloud_board_simulated 0",
		`picloud_board_condition{condition="undervoltage"} 0`, `picloud_board_condition{condition="throttled"} 0`, `picloud_board_condition{condition="heat"} 0`,
		"picloud_background_slowed 0",
	}
	if diff := cmp.Diff(unknown, written(board.Report{})); diff != "" {
		t.Error("nothing is known:\n", diff)
	}
	known := []string{
		"picloud_board_celsius 81.5", "picloud_board_uptime_seconds 60", "picloud_board_cpu_ratio 0.25", "picloud_board_cpu_hertz 1.5e+09", "picloud_board_load 0.5",
		"picloud_board_wear_ratio 0.1", "picloud_board_memory_total_bytes 512", "picloud_board_memory_available_bytes 256", "picloud_board_disk_total_bytes 64",
		"picloud_board_disk_free_bytes 32", "picloud_board_undervoltage 0", "picloud_board_undervoltage_seen 1", "picloud_board_throttled 0",
		"picloud_board_throttled_seen 0", "picloud_board_clock_synced 1", "picloud_board_simulated 1",
		`picloud_board_condition{condition="undervoltage"} 0`, `picloud_board_condition{condition="throttled"} 0`, `picloud_board_condition{condition="heat"} 1`,
		"picloud_background_slowed 1",
	}
	got := written(board.Report{
		Health: board.Health{
			Celsius: new(81.5), Uptime: new(60.0), CPU: new(0.25), CPUHertz: new(1.5e9), Load: new(0.5), Wear: new(0.1),
			MemoryTotal: new(uint64(512)), MemoryAvailable: new(uint64(256)), DiskTotal: new(uint64(64)), DiskFree: new(uint64(32)),
			Undervoltage: new(false), UndervoltageSeen: new(true), Throttled: new(false), ThrottledSeen: new(false), ClockSynced: new(true), Simulated: true,
		},
		Conditions: []board.Lasting{{Condition: board.Heat}}, Slowed: true,
	})
	if diff := cmp.Diff(known, got); diff != "" {
		t.Error("everything is known:\n", diff)
	}
}
