package store

// Some rows follow from others: when a key comes to its end, by which values of
// their fields documents are found. They are kept in state.db beside those they
// follow from, and are not in the journal: replaying it makes them again.

// before is how things are without a change, for what follows from it.
type before struct {
	catalog *catalog
	get     func(tb table, key []byte) []byte
	tables  *tables // without what the group at hand stages
}

// derive returns what follows from a row.
func derive(c change, e before) ([]change, error) {
	switch c.table {
	case tableKV:
		return entryExpiry(c)
	case tableResult:
		return resultExpiry(c)
	case tableDoc:
		return deriveDoc(c, e)
	case tableCollection:
		return deriveIndexes(c, e)
	default:
		return nil, nil
	}
}
