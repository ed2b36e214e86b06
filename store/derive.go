package store

// Some rows follow from others: when a key comes to its end. They are kept in
// state.db beside those they follow from, and are not in the journal: replaying
// it makes them again.

// derive returns what follows from a row.
func derive(c change) ([]change, error) {
	if c.table == tableKV {
		return entryExpiry(c)
	}
	return nil, nil
}
