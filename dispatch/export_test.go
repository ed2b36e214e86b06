package dispatch

import (
	"time"

	"github.com/picloud/picloud"
)

// Next returns the first moment of a schedule after a time.
func Next(t picloud.Trigger, from time.Time) (time.Time, error) {
	s, err := scheduleOf(t)
	if err != nil {
		return time.Time{}, err
	}
	return s.next(from), nil
}
