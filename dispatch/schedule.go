package dispatch

import (
	"errors"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a small system may not have the time zones

	cron "github.com/netresearch/go-cron"

	"github.com/picloud/picloud"
)

// schedules reads the five fields of cron, and @hourly, @daily, @every 90s. Where both
// the day of the month and that of the week are given, either makes the day.
var schedules = cron.MustNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.DowOrDom | cron.Descriptor)

// CheckSchedule returns a public error when the schedule or the time zone of a
// trigger cannot be read.
func CheckSchedule(t picloud.Trigger) error {
	if t.Kind != picloud.TriggerCron {
		return nil
	}
	_, err := scheduleOf(t)
	return err
}

// schedule is when a trigger of the clock is due.
//
// The fields are read against the clock on the wall, which daylight saving makes
// leap and repeat itself. What has its hours fixed comes once all the same: where
// the clock leaps over it, as much later as the clock leaps; where the clock shows
// it twice, the first time. What comes at every hour ('*') goes by the hours that
// really pass. These are the rules of ISC cron, but that it runs at once what was
// leapt over.
type schedule struct {
	trigger picloud.Trigger
	wall    cron.Schedule // of a clock that is never put forward or back
	zone    *time.Location
	span    bool // every so often, whatever the clock shows
	hourly  bool // at every hour

	began time.Time // of a span that goes by a clock that does not jump, see clock.every; zero: none does
}

func scheduleOf(t picloud.Trigger) (*schedule, error) {
	text := strings.TrimSpace(t.Schedule)
	if strings.Contains(text, "TZ=") {
		return nil, picloud.ErrTriggerInvalid.Detailf("schedule: say in time_zone where it is meant")
	}
	wall, err := schedules.Parse(text)
	if err == nil && slices.ContainsFunc(strings.Fields(text), hasGap) {
		err = errors.New("there is nothing beside a comma")
	}
	if err != nil {
		return nil, picloud.ErrTriggerInvalid.Detailf("schedule: %q: %v; give five fields (minute hour day month weekday), such as \"0 8 * * mon-fri\"", t.Schedule, err)
	}
	zone, err := time.LoadLocation(t.TimeZone)
	if err != nil || strings.EqualFold(t.TimeZone, "local") {
		return nil, picloud.ErrTriggerInvalid.Detailf("time_zone: %q is not known; use a name such as Europe/Berlin", t.TimeZone)
	}
	s := &schedule{trigger: t, wall: wall, zone: zone, span: strings.HasPrefix(text, "@every"), hourly: text == "@hourly"}
	if fields := strings.Fields(text); len(fields) == 5 {
		s.hourly = strings.HasPrefix(fields[1], "*")
	}
	return s, nil
}

// hasGap reports whether an item of a list is missing, which the library passes over.
func hasGap(field string) bool { return slices.Contains(strings.Split(field, ","), "") }

// leap is more than any clock has ever been put forward or back.
const leap = 26 * time.Hour

// next returns the first moment after from; zero: there is none.
func (s *schedule) next(from time.Time) time.Time {
	if s.span {
		return s.wall.Next(from)
	}
	offset, begin, end := period(from.In(s.zone))
	at := s.after(from, offset)
	quiet := end.IsZero() || at.Before(end)
	switch {
	case at.IsZero():
		return at
	case quiet && (s.hourly || begin.IsZero() || from.Sub(begin) > leap):
		return at
	case s.hourly:
		return s.hourlyAfter(end)
	}
	return s.fixedAfter(from, offset)
}

// period returns by how much the clock at a place is ahead of UTC, and since when
// and until when.
func period(local time.Time) (offset time.Duration, begin, end time.Time) {
	_, seconds := local.Zone()
	begin, end = local.ZoneBounds()
	return time.Duration(seconds) * time.Second, begin, end
}

// after returns the first moment after t by a clock that stays ahead of UTC by
// offset.
func (s *schedule) after(t time.Time, offset time.Duration) time.Time {
	at := s.wall.Next(t.UTC().Add(offset))
	if at.IsZero() {
		return at
	}
	return at.Add(-offset)
}

// hourlyAfter returns the first moment that is not before the clock was put
// forward or back at a time.
func (s *schedule) hourlyAfter(change time.Time) time.Time {
	for {
		offset, _, end := period(change.In(s.zone))
		at := s.after(change.Add(-time.Nanosecond), offset)
		if at.IsZero() || end.IsZero() || at.Before(end) {
			return at
		}
		change = end
	}
}

// fixedAfter returns the first moment after from where the clock is put forward or
// back nearby, so that the order of the moments need not be that on the wall.
func (s *schedule) fixedAfter(from time.Time, offset time.Duration) time.Time {
	var best time.Time
	for wall := s.wall.Next(from.UTC().Add(offset - leap)); !wall.IsZero(); wall = s.wall.Next(wall) {
		if !best.IsZero() && wall.Sub(best.UTC().Add(offset)) > leap {
			break
		}
		if at := s.moment(wall); at.After(from) && (best.IsZero() || at.Before(best)) {
			best = at
		}
	}
	return best
}

// moment returns when the clock shows what wall says, which is written as if it
// were UTC.
func (s *schedule) moment(wall time.Time) time.Time {
	offset, _, end := period(wall.Add(-leap).In(s.zone))
	first := wall.Add(-offset)
	if end.IsZero() || first.Before(end) {
		return first // also where it shows it twice
	}
	later, _, _ := period(wall.Add(leap).In(s.zone))
	if second := wall.Add(-later); !second.Before(end) {
		return second
	}
	return first // it never does: as much later as it leaps
}

// missedSpan bounds how far back the last of several missed times is looked for
// step by step.
const missedSpan = 48 * time.Hour

// due returns the latest moment after from that has come; zero: none has.
func (s *schedule) due(from, now time.Time) time.Time {
	next := s.next(from)
	if next.IsZero() || next.After(now) {
		return time.Time{}
	}
	if now.Sub(next) > missedSpan {
		if late := s.next(now.Add(-missedSpan)); !late.After(now) {
			next = late
		}
	}
	for {
		after := s.next(next)
		if after.IsZero() || after.After(now) {
			return next
		}
		next = after
	}
}
