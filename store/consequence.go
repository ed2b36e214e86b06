package store

// stateBefore is how things are without a change, for the rows that follow from it.
type stateBefore struct {
	catalog *catalog
	get     func(tb table, key []byte) []byte
	tables  *tables // without the changes that the group at hand stages
}

// cause is where a change stands in the journal.
type cause struct {
	lsn  uint64
	at   int64
	hops int // see picloud.MaxHops
}

// apply takes a change into the catalog and returns the rows that follow from it
// and are not in the journal: indexes, ends of rows, and, with a cause, deliveries
// to triggers. So a change and its deliveries are there together or not at all, and
// none of it is written twice: replaying the change makes them again.
func (c *catalog) apply(ch change, e stateBefore, by *cause) (derived []change, err error) {
	k := ch.table.kind()
	if k == nil {
		return nil, nil
	}
	if k.derive != nil {
		if derived, err = k.derive(ch, e); err != nil {
			return nil, err
		}
	}
	if k.expires != nil {
		ends, err := k.deriveExpiry(ch, e.get(ch.table, ch.key))
		if err != nil {
			return nil, err
		}
		derived = append(derived, ends...)
	}
	if err := c.set(ch); err != nil {
		return nil, err
	}
	if by == nil || c.triggers().Len() == 0 {
		return derived, nil
	}
	if k.happened != nil {
		m, ok, err := k.happened(ch, *by)
		if err != nil {
			return nil, err
		}
		if ok {
			derived = append(derived, enqueue(c, m)...)
		}
	}
	if k.enqueue != nil {
		deliveries, err := k.enqueue(ch, *by)
		if err != nil {
			return nil, err
		}
		derived = append(derived, deliveries...)
	}
	return derived, nil
}
