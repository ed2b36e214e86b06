package pgsync_test

import (
	"os"
	"testing"

	"github.com/picloud/picloud/pgsync/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
