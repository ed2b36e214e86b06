package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/store"
)

// TR-7: times come once each, and the last one is remembered over a restart; after
// a downtime there is one run or none, as the trigger says, and never a burst.
func TestTimesComeOnce(t *testing.T) {
	t.Parallel()
	for _, catchUp := range []picloud.CatchUp{picloud.CatchUpOne, picloud.CatchUpNone} {
		t.Run(string(catchUp), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				o := open(t, dir, nil)
				o.trigger(t, picloud.Trigger{Name: "hourly", Kind: picloud.TriggerCron, Schedule: "0 * * * *", CatchUp: catchUp})
				time.Sleep(5*time.Hour + time.Minute)
				if n := len(o.told("hourly")); n != 5 {
					t.Errorf("%d runs in five hours", n)
				}
				o.stop()
				time.Sleep(70 * 24 * time.Hour)
				o = open(t, dir, nil)
				defer o.stop()
				time.Sleep(time.Minute)
				missed := o.told("hourly")
				if want := map[picloud.CatchUp]int{picloud.CatchUpOne: 1, picloud.CatchUpNone: 0}[catchUp]; len(missed) != want {
					t.Errorf("%d runs after a downtime, want %d", len(missed), want)
				}
				if len(missed) == 1 && !missed[0].d.What.At.Equal(began.Add((70*24+5)*time.Hour)) {
					t.Errorf("it was caught up for %v", missed[0].d.What.At)
				}
				time.Sleep(3 * time.Hour)
				if n := len(o.told("hourly")) - len(missed); n != 3 {
					t.Errorf("%d runs in the next three hours", n)
				}
			})
		})
	}
}

// TR-7: while a run of an earlier time is not done, later times are passed over.
func TestTimesCoalesce(t *testing.T) {
	inBubble(t, func(ctx context.Context, _ picloud.Trigger, _ picloud.Delivery) error {
		select {
		case <-time.After(10*time.Minute + time.Second):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}, func(t *testing.T, o *outbox) {
		o.trigger(t, picloud.Trigger{Name: "often", Kind: picloud.TriggerCron, Schedule: "* * * * *", Timeout: 10 * time.Minute})
		time.Sleep(time.Hour)
		if n := len(o.told("often")); n != 6 {
			t.Errorf("%d runs of ten minutes in an hour, want 6", n)
		}
	})
}

// TR-7: whatever the clock does, a time that it shows again or leaps over makes no
// burst and no silence.
func TestClockThatJumps(t *testing.T) {
	t.Parallel()
	var shift atomic.Int64 // by how much the clock is wrong
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := openAt(t, dir, func() time.Time { return time.Now().Add(time.Duration(shift.Load())) })
		defer o.stop()
		o.trigger(t, picloud.Trigger{Name: "hourly", Kind: picloud.TriggerCron, Schedule: "0 * * * *"})
		runs := func(d time.Duration) int {
			before := len(o.told("hourly"))
			time.Sleep(d)
			return len(o.told("hourly")) - before
		}
		if n := runs(2*time.Hour + 30*time.Second); n != 2 {
			t.Fatalf("%d runs at first", n)
		}
		shift.Store(int64(-time.Minute)) // the time that has just come is shown again
		if n := runs(30 * time.Minute); n != 0 {
			t.Errorf("%d runs after the clock was put back a little", n)
		}
		shift.Store(int64(400 * 24 * time.Hour))
		if n := runs(10 * time.Second); n != 1 {
			t.Errorf("%d runs after a leap of more than a year", n)
		}
		shift.Store(0)
		if n := runs(3 * time.Hour); n < 2 || n > 3 {
			t.Errorf("%d runs in three hours after the clock was put back by a year", n)
		}
	})
}

// DM-8: a board that starts in 1970 runs again nothing of the calendar that it has run,
// misses nothing, and goes on with what comes every so often; a pause between attempts
// lasts no longer because the clock was set back.
func TestScheduleOfABoardThatStartsIn1970(t *testing.T) {
	t.Parallel()
	var shift atomic.Int64
	var sure atomic.Bool
	sure.Store(true)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		sc := store.Config{Dir: dir, Now: func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }}
		sc.Clock = func() store.Clock { return store.Clock{Synced: sure.Load(), Boot: "b", Uptime: time.Since(began)} }
		fails := func(_ context.Context, tr picloud.Trigger, d picloud.Delivery) error {
			if tr.Name == "retried" && d.Attempts == 0 {
				return errors.New("once")
			}
			return nil
		}
		o := openWith(t, sc, fails)
		o.trigger(t, picloud.Trigger{Name: "daily", Kind: picloud.TriggerCron, Schedule: "0 8 * * *"})
		o.trigger(t, picloud.Trigger{Name: "often", Kind: picloud.TriggerCron, Schedule: "@every 1m"})
		o.trigger(t, picloud.Trigger{Name: "retried", Kind: picloud.TriggerPubSub, Topic: "a", Retry: picloud.Retry{Attempts: 3, First: 10 * time.Second, Max: time.Minute}})
		time.Sleep(10 * time.Hour)
		if n := len(o.told("daily")); n != 1 {
			t.Fatalf("%d runs on the first day", n)
		}
		o.publish(t, "a", 1)
		time.Sleep(time.Second)
		o.stop()
		sure.Store(false)
		shift.Store(-int64(time.Since(time.Unix(30, 0))))
		o = openWith(t, sc, fails)
		defer o.stop()
		time.Sleep(10*time.Minute + time.Second)
		if n := len(o.told("daily")); n != 0 {
			t.Errorf("%d runs in 1970", n)
		}
		if n := len(o.told("often")); n < 9 || n > 11 {
			t.Errorf("%d runs in ten minutes of 1970", n)
		}
		if n := len(o.told("retried")); n != 1 {
			t.Errorf("%d further attempts in ten minutes of 1970", n)
		}
		shift.Store(0)
		sure.Store(true)
		time.Sleep(time.Minute)
		if n := len(o.told("daily")); n != 0 {
			t.Errorf("%d runs once the time is known", n)
		}
		time.Sleep(24 * time.Hour)
		if n := len(o.told("daily")); n != 1 {
			t.Errorf("%d runs on the second day", n)
		}
	})
}

// HW-7: a board that learns the time runs nothing because of that: schedules of the calendar
// wait for it and count from then, what comes every so often keeps its pace over the jump,
// wherever the clock stood before: in 1970, where it was at the last stop, or ahead.
func TestNothingBurstsWhenTheTimeBecomesKnown(t *testing.T) {
	t.Parallel()
	const daily = 5
	for name, wrong := range map[string]func(truth time.Time) time.Time{
		"1970":             func(time.Time) time.Time { return time.Unix(30, 0) },
		"of the last stop": func(truth time.Time) time.Time { return truth.Add(-3*24*time.Hour - 30*time.Minute) },
		"ahead":            func(truth time.Time) time.Time { return truth.Add(2*24*time.Hour + 30*time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				var shift atomic.Int64
				var sure atomic.Bool
				time.Sleep(5 * 365 * 24 * time.Hour) // so that being behind is not before all clocks
				began := time.Now()
				shift.Store(int64(wrong(began).Sub(began)))
				sc := store.Config{Dir: dir, Now: func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }}
				sc.Clock = func() store.Clock { return store.Clock{Synced: sure.Load(), Boot: "b", Uptime: time.Since(began)} }
				o := openWith(t, sc, nil)
				defer o.stop()
				for i := range daily {
					o.trigger(t, picloud.Trigger{Name: fmt.Sprint("daily-", i), Kind: picloud.TriggerCron, Schedule: "0 3 * * *"})
				}
				o.trigger(t, picloud.Trigger{Name: "often", Kind: picloud.TriggerCron, Schedule: "@every 1m"})
				runs := func(what string, d time.Duration, perDaily, least, most int) {
					t.Helper()
					before := len(o.told("often"))
					var dailies int
					for i := range daily {
						dailies -= len(o.told(fmt.Sprint("daily-", i)))
					}
					time.Sleep(d)
					for i := range daily {
						dailies += len(o.told(fmt.Sprint("daily-", i)))
					}
					if dailies != daily*perDaily {
						t.Errorf("%s: %d runs of the calendar, want %d", what, dailies, daily*perDaily)
					}
					if n := len(o.told("often")) - before; n < least || n > most {
						t.Errorf("%s: %d runs of every minute, want %d to %d", what, n, least, most)
					}
				}
				runs("before", 2*time.Hour+30*time.Second, 0, 115, 121)
				shift.Store(0)
				sure.Store(true)
				o.publish(t, "a", 1) // the store looks at the clock
				runs("at the jump", 50*time.Second, 0, 0, 1)
				runs("after it", 2*time.Hour, 1, 118, 121)
				shift.Store(int64(-time.Hour)) // set back, by the operator
				runs("after it was set back", time.Hour, 0, 58, 62)
			})
		})
	}
}

// HW-7: triggers made in 1970 run at their times, and not before, on a node that was started
// again since.
func TestTriggersOf1970AfterARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var sure atomic.Bool
		began := time.Now()
		sc := store.Config{Dir: dir, Now: func() time.Time {
			if sure.Load() {
				return time.Now()
			}
			return time.Unix(30, 0).Add(time.Since(began))
		}}
		sc.Clock = func() store.Clock { return store.Clock{Synced: sure.Load(), Boot: "b", Uptime: time.Since(began)} }
		o := openWith(t, sc, nil)
		o.trigger(t, picloud.Trigger{Name: "daily", Kind: picloud.TriggerCron, Schedule: "0 3 * * *"})
		o.trigger(t, picloud.Trigger{Name: "minute", Kind: picloud.TriggerCron, Schedule: "* * * * *"})
		o.trigger(t, picloud.Trigger{Name: "often", Kind: picloud.TriggerCron, Schedule: "@every 1m"})
		time.Sleep(10 * time.Minute)
		o.stop()
		sure.Store(true)
		o = openWith(t, sc, nil)
		defer o.stop()
		time.Sleep(30 * time.Second)
		if d, m := len(o.told("daily")), len(o.told("minute")); d != 0 || m > 1 {
			t.Errorf("%d and %d runs because the time is known", d, m)
		}
		time.Sleep(3 * time.Hour)
		if d, m, e := len(o.told("daily")), len(o.told("minute")), len(o.told("often")); d != 1 || m < 175 || m > 182 || e < 175 || e > 182 {
			t.Errorf("%d, %d and %d runs in three hours", d, m, e)
		}
	})
}

// HW-7: what was due while the board was off is caught up once the time is known, by one
// run.
func TestMissedWhileOffIsCaughtUpOnceTheTimeIsKnown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var shift atomic.Int64
		var sure atomic.Bool
		sure.Store(true)
		began := time.Now()
		sc := store.Config{Dir: dir, Now: func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }}
		sc.Clock = func() store.Clock { return store.Clock{Synced: sure.Load(), Boot: "b", Uptime: time.Since(began)} }
		o := openWith(t, sc, nil)
		o.trigger(t, picloud.Trigger{Name: "daily", Kind: picloud.TriggerCron, Schedule: "0 8 * * *", CatchUp: picloud.CatchUpOne})
		time.Sleep(9 * time.Hour)
		o.stop()
		time.Sleep(10 * 24 * time.Hour)
		shift.Store(int64(-10 * 24 * time.Hour)) // it goes on where it was stopped
		sure.Store(false)
		o = openWith(t, sc, nil)
		defer o.stop()
		time.Sleep(2 * time.Hour)
		if n := len(o.told("daily")); n != 0 {
			t.Errorf("%d runs before the time was known", n)
		}
		shift.Store(0)
		sure.Store(true)
		o.publish(t, "a", 1)
		time.Sleep(time.Minute)
		if n := len(o.told("daily")); n != 1 {
			t.Errorf("%d runs for ten days that were missed, want one", n)
		}
	})
}

// TR-7: daylight saving by brute force, against a calendar that is walked minute by
// minute: a fixed time comes once on each day, also where the clock leaps over it
// or shows it twice; what is every so often comes at every such moment.
func TestDaylightSaving(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu", "UTC"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		begin, end := time.Date(2026, 1, 1, 0, 0, 0, 0, zone), time.Date(2027, 1, 1, 0, 0, 0, 0, zone)
		for _, clock := range []string{"0:30", "1:30", "2:00", "2:15", "2:30", "3:00", "12:00"} {
			hour, minute, _ := strings.Cut(clock, ":")
			days := map[string]int{}
			for _, at := range times(t, fmt.Sprintf("%s %s * * *", strings.TrimPrefix(minute, "0"), hour), begin, end) {
				days[at.Format(time.DateOnly)]++
			}
			for d := begin; d.Before(end); d = d.AddDate(0, 0, 1) {
				if n := days[d.Format(time.DateOnly)]; n != 1 {
					t.Errorf("%s: %s comes %d times on %s", name, clock, n, d.Format(time.DateOnly))
				}
			}
		}
		days := map[string]int{} // the first, and every Monday
		for _, at := range times(t, "0 12 1 * mon", begin, end) {
			days[at.Format(time.DateOnly)]++
		}
		for d := begin; d.Before(end); d = d.AddDate(0, 0, 1) {
			if n := days[d.Format(time.DateOnly)]; (n == 1) != (d.Day() == 1 || d.Weekday() == time.Monday) {
				t.Errorf("%s: the first or a Monday comes %d times on %s", name, n, d.Format("Mon 2006-01-02"))
			}
		}
		want := 0
		for at := begin; at.Before(end); at = at.Add(time.Minute) {
			if at.Minute()%20 == 0 {
				want++
			}
		}
		if got := len(times(t, "*/20 * * * *", begin, end)); got != want {
			t.Errorf("%s: every twenty minutes comes %d times in the year, want %d", name, got, want)
		}
	}
}

// times are the moments of a schedule between two.
func times(t *testing.T, schedule string, begin, end time.Time) []time.Time {
	t.Helper()
	tr := picloud.Trigger{Kind: picloud.TriggerCron, Schedule: schedule, TimeZone: begin.Location().String()}
	var list []time.Time
	for at := begin.Add(-time.Second); ; {
		next, err := dispatch.Next(tr, at)
		if err != nil || !next.After(at) {
			t.Fatalf("%s: after %v comes %v, %v", schedule, at, next, err)
		}
		if !next.Before(end) {
			return list
		}
		list, at = append(list, next.In(begin.Location())), next
	}
}

func TestCheckSchedule(t *testing.T) {
	t.Parallel()
	for schedule, zone := range map[string]string{"0 8 * * mon-fri": "Europe/Berlin", "@daily": "", "*/5 0-6 1,15 * *": "UTC", "@every 90s": ""} {
		if err := dispatch.CheckSchedule(picloud.Trigger{Kind: picloud.TriggerCron, Schedule: schedule, TimeZone: zone}); err != nil {
			t.Errorf("%q: %v", schedule, err)
		}
	}
	for schedule, zone := range map[string]string{"0 8 * *": "", "0 8 * * 8 9": "", "x": "", "TZ=UTC 0 8 * * *": "", "0 9 * * *": "Mars/Olympus", "0 10 * * *": "Local", "": "", "1,2,,3 * * * *": "", "0 8 , * *": ""} {
		err := dispatch.CheckSchedule(picloud.Trigger{Kind: picloud.TriggerCron, Schedule: schedule, TimeZone: zone})
		if e := picloud.AsError(err); e == nil || e.Type != "trigger-invalid" {
			t.Errorf("%q in %q: %v", schedule, zone, err)
		}
	}
}

// FuzzSchedule: whatever a schedule says, it is refused, or its next time can be
// told.
func FuzzSchedule(f *testing.F) {
	for _, s := range []string{"0 8 * * *", "@every 1s", "*/61 * * * *", "1-5/2 ? * JAN-MAR SUN", "@every 9999999h", "0 0 31 2 *"} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, s string) {
		_ = dispatch.CheckSchedule(picloud.Trigger{Kind: picloud.TriggerCron, Schedule: s}) // must not panic or hang
	})
}
