package httpapi_test

import (
	"os"
	"testing"

	"github.com/picloud/picloud/script"
)

// TestMain lets the test's binary be the worker that runs scripts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == script.WorkerArg {
		os.Exit(script.Work())
	}
	os.Exit(m.Run())
}
