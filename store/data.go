package store

import "github.com/picloud/picloud"

// dataPage bounds the rows of one page of Data.
const dataPage = 500

// Data returns what apps keep, as it is now, a page at a time: for those who
// begin to follow the journal when it does not have all of it any more. Next is
// what after has to be for the following page; empty: there is none.
func (s *Store) Data(after string) (page []picloud.Change, next string, err error) {
	size := 0
	s.tables.scan(tableKV, "", after, func(k string, v []byte) bool {
		if k == after {
			return true
		}
		if len(page) == dataPage || size > pageBytes/4 {
			return false
		}
		var c *picloud.Change
		if c, err = changeOf(change{table: tableKV, key: []byte(k), value: v}); err != nil {
			return false
		}
		page, next, size = append(page, *c), k, size+len(v)
		return true
	})
	if len(page) < dataPage && size <= pageBytes/4 {
		next = ""
	}
	return page, next, err
}
