package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A storm of signals makes the node read its files, and log a fault of theirs, once a second; one signal
// makes it read them at once.
func TestStormOfReloads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int32
		r := &reloader{
			opt: Options{Reload: func() (Config, error) { reads.Add(1); return Config{}, errors.New("faulty") }},
			log: slog.New(slog.DiscardHandler), hup: make(chan os.Signal, 1), secret: newSecretWatch(""),
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx, DefaultConfig(), new(life)) }()
		time.Sleep(2 * look) //nolint:forbidigo // the clock of the bubble
		r.hup <- syscall.SIGHUP
		synctest.Wait()
		if n := reads.Load(); n != 2 { // the first is that of the start
			t.Errorf("after a signal it has read %d times", n)
		}
		for range 1000 {
			r.hup <- syscall.SIGHUP
			time.Sleep(10 * time.Millisecond) //nolint:forbidigo // as above
		}
		time.Sleep(2 * look) //nolint:forbidigo // as above
		before := reads.Load()
		if before < 3 || before > 14 {
			t.Errorf("in 12 seconds it has read %d times", before)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // as above
		if n := reads.Load(); n != before {
			t.Errorf("without a signal it has read %d times more", n-before)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
