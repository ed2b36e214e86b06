package store

import "github.com/picloud/picloud"

// dataPage bounds the rows of one page of Data.
const dataPage = 500

// copied are the tables of what apps keep that concerns others.
var copied = []table{tableKV, tableDoc, tableScript, tableLetter, tableSecret, tableFile}

// Data returns what apps keep, as it is now, a page at a time: for those who
// begin to follow the journal when it does not have all of it any more. Next is
// what after has to be for the following page; empty: there is none.
func (s *Store) Data(after string) (page []picloud.Change, next string, err error) {
	size, from := 0, ""
	for _, tb := range copied {
		if after != "" && byte(tb) < after[0] {
			continue
		}
		if after != "" && byte(tb) == after[0] {
			from = after[1:]
		}
		full := false
		s.tables.scan(tb, "", from, func(k string, v []byte) bool {
			if rowKey(tb, []byte(k)) == after {
				return true
			}
			if full = len(page) == dataPage || size > pageBytes/4; full {
				return false
			}
			var c *picloud.Change
			if c, err = changeOf(change{table: tb, key: []byte(k), value: v}); err != nil {
				return false
			}
			page, next, size = append(page, *c), rowKey(tb, []byte(k)), size+len(v)
			return true
		})
		if full || err != nil {
			return page, next, err
		}
		from = ""
	}
	return page, "", err
}
