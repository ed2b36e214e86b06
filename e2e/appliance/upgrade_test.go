package appliance

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// earlier is a binary of an earlier commit, which scripts/appliance has built.
type earlier struct {
	binary    string
	activated bool // serves on the sockets of systemd, in the format of today
}

const (
	earlierData = "/var/lib/picloud/earlier"
	earlierUnit = "/run/systemd/system/earlier.service"
)

// isUpgraded: binaries of earlier commits are replaced while events are published.
func (a appliance) isUpgraded() {
	for _, old := range []earlier{{"picloud-format-1", false}, {"picloud-format-2", false}, {"picloud-activated", true}} {
		a.T.Run(old.binary, func(t *testing.T) {
			appliance{t, ""}.isUpgradedFrom(old)
		})
	}
	a.configure("")
	a.command("systemctl", "restart", "picloud.service")
}

// isUpgradedFrom: whatever was acknowledged before, during and after an upgrade is there, and
// streams go on. Between versions of one format and with the socket of systemd, no request
// fails, and the way back is the same. Across formats the earlier version refuses the data.
func (a appliance) isUpgradedFrom(old earlier) {
	a.command("systemctl", "stop", "picloud.service", "picloud.socket")
	a.command("rm", "-rf", earlierData)
	a.configure(fmt.Sprintf("data = %q\nsocket = \"/run/picloud/picloud.sock\"\n", earlierData))
	serve := "/usr/bin/" + old.binary + " serve --config " + settings
	if old.activated {
		a.dropIn("50-earlier.conf", "[Service]\nExecStart=\nExecStart="+serve+"\n")
		a.command("systemctl", "start", "picloud.service")
	} else {
		a.write(earlierUnit, "[Service]\nType=notify\nUser=picloud\nGroup=picloud\nUMask=0007\nStateDirectory=picloud\nRuntimeDirectory=picloud\nRuntimeDirectoryPreserve=yes\n"+
			"TimeoutStopSec=90\nNoNewPrivileges=yes\nProtectSystem=strict\nProtectHome=yes\nPrivateTmp=yes\nExecStart="+serve+"\n")
		a.command("systemctl", "daemon-reload")
		a.command("systemctl", "start", "earlier.service")
	}
	a.key = a.newKey(old.binary)
	l := a.load("upgraded")
	if old.activated {
		a.dropIn("50-earlier.conf", "")
		a.command("systemctl", "restart", "picloud.service")
	} else {
		a.command("systemctl", "stop", "earlier.service")
		a.command("systemctl", "start", "picloud.service")
	}
	a.runs("/usr/bin/picloud")
	l.more(100)
	l.end(!old.activated)
	if old.activated {
		l = a.load("downgraded")
		a.dropIn("50-earlier.conf", "[Service]\nExecStart=\nExecStart="+serve+"\n")
		a.command("systemctl", "restart", "picloud.service")
		a.runs("/usr/bin/" + old.binary)
		l.more(100)
		l.end(false)
		a.dropIn("50-earlier.conf", "")
	} else {
		a.isRefusedBy(old)
	}
	a.command("systemctl", "stop", "picloud.service", "picloud.socket")
	a.command("rm", "-rf", earlierData)
}

// runs checks which program the service is.
func (a appliance) runs(program string) {
	a.Helper()
	if got, err := os.Readlink("/proc/" + a.property("MainPID") + "/exe"); err != nil || got != program {
		a.Errorf("%s runs, %v", got, err)
	}
}

// isRefusedBy: an earlier version does not touch data of a newer format.
func (a appliance) isRefusedBy(old earlier) {
	a.command("systemctl", "stop", "picloud.service", "picloud.socket")
	sums := func() string {
		return a.command("sh", "-c", "find "+earlierData+" -type f -exec sha256sum {} + | sort")
	}
	before := sums()
	out, err := exec.Command("setpriv", "--reuid=picloud", "--regid=picloud", "--init-groups", "env", "-i", "/usr/bin/"+old.binary, "serve", "--config", settings).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "newer") {
		a.Errorf("%s on data of today: %v\n%s", old.binary, err, out)
	}
	if sums() != before {
		a.Errorf("%s has changed the data", old.binary)
	}
}
