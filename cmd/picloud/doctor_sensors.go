package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
)

// sensorFindings has one finding for each sensor that cannot be read, or one for all where
// there are sensors.
func (c *cli) sensorFindings(cmd *cobra.Command) (findings []finding) {
	var b api.Sensors
	if err := c.call(cmd.Context(), http.MethodGet, "/v1/node/board/sensors", nil, &b); err != nil {
		return nil // a node before this version
	}
	for _, s := range b.Sensors {
		if s.Fault != nil {
			findings = append(findings, finding{"sensor", false, fmt.Sprintf("%s cannot be read since %s", s.Name, when(s.FaultSince)), plain(*s.Fault)})
		}
	}
	if len(findings) == 0 && len(b.Sensors) > 0 {
		findings = append(findings, finding{"sensors", true, fmt.Sprintf("%d are read", len(b.Sensors)), ""})
	}
	return findings
}
