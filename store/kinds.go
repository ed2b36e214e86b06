package store

import "slices"

// kinds lists every kind of row.
var kinds = [maxTables]*rowKind{
	tableApp:           &appKind,
	tableTopic:         &topicKind,
	tableKey:           &apiKeyKind,
	tableSigning:       &signingKeyKind,
	tableFloor:         &floorKind,
	tableSequence:      &sequenceKind,
	tableIdem:          &idempotencyKind,
	tableAnchor:        &anchorKind,
	tableCursor:        &cursorKind,
	tableNote:          &noteKind,
	tableClock:         &clockKind,
	tableKV:            &entryKind,
	tableExpiry:        &expiryKind,
	tableScript:        &scriptKind,
	tableScriptVersion: &scriptVersionKind,
	tableRun:           &runKind,
	tableTrigger:       &triggerKind,
	tableDelivery:      &deliveryKind,
	tableAttempt:       &attemptKind,
	tableTick:          &tickKind,
	tableDeadLetter:    &deadLetterKind,
	tableCollection:    &collectionKind,
	tableDoc:           &documentKind,
	tableDocIndex:      &docIndexKind,
	tableEndpoint:      &endpointKind,
	tableSecret:        &secretKind,
	tableResult:        &resultKind,
	tableFile:          &fileKind,
	tableWaiting:       &waitingKind,
	tableBehind:        &behindKind,
	tableStep:          &stepKind,
	tableGivenUp:       &givenUpKind,
	tableIncident:      &incidentKind,
}

// kind returns the kind of rows of a table; nil: this version knows none.
func (t table) kind() *rowKind {
	if int(t) < len(kinds) {
		return kinds[t]
	}
	return nil
}

func (t table) known() bool     { return t.kind() != nil }
func (t table) inCatalog() bool { k := t.kind(); return k != nil && k.catalog != nil }
func (t table) isData() bool    { k := t.kind(); return k != nil && k.data }

// tablesWhere lists the tables whose kind is as is says, by their numbers.
func tablesWhere(is func(*rowKind) bool) (list []table) {
	for t, k := range kinds {
		if k != nil && is(k) {
			list = append(list, table(t)) // #nosec G115 -- below maxTables
		}
	}
	return list
}

// hasData reports whether apps keep any data.
func (t *tables) hasData() bool {
	return slices.ContainsFunc(tablesWhere(func(k *rowKind) bool { return k.data }), func(tb table) bool { return t.count(tb, "", 1) > 0 })
}
