package httpapi

import (
	"fmt"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

func amountBody(a picloud.Amount) api.Amount { return api.Amount(a) }

func usageBody(u picloud.Usage) *api.AppUsage {
	return &api.AppUsage{
		Data: amountBody(u.Data), Results: amountBody(u.Results), Anonymous: amountBody(u.Anonymous), IdempotencyKeys: amountBody(u.IdempotencyKeys),
		TopicNames: amountBody(u.TopicNames), Scripts: amountBody(u.Scripts), Runs: amountBody(u.Runs), DeadLetters: amountBody(u.DeadLetters), LettersDropped: u.LettersDropped,
	}
}

// usageNotes says which apps are close to what they may keep, or had to drop something.
func usageNotes(list []picloud.Usage) (notes []string) {
	for _, u := range list {
		for _, a := range []struct {
			what, setting string
			picloud.Amount
		}{
			{"data", "quota.data_bytes", u.Data},
			{"results", "quota.result_bytes", u.Results},
			{"results of anonymous callers", "quota.anonymous_result_bytes", u.Anonymous},
			{"idempotency keys of a day", "quota.idempotency_keys", u.IdempotencyKeys},
			{"topic names", "quota.topic_names", u.TopicNames},
		} {
			if p := a.Percent(); p >= 90 {
				notes = append(notes, fmt.Sprintf("The app %q has %d %% of the %s it may have; %s raises that.", u.App, p, a.what, a.setting))
			}
		}
		if u.LettersDropped > 0 {
			notes = append(notes, fmt.Sprintf("The app %q has dropped %d dead letters for newer ones: redrive or purge those that are there.", u.App, u.LettersDropped))
		}
	}
	return notes
}
