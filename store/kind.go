package store

import "slices"

// table numbers a kind of row. The numbers are on the disk: never change or
// reuse one.
type table byte

// maxTables bounds the numbers of tables.
const maxTables = 64

// kind is all that the engine has to know of one kind of row. It stands beside
// the row's type; kinds lists them all. A member that is nil does not apply.
//
// The functions are called by the committer, or while the store opens. They look
// at nothing but their arguments, so that replaying a change of the journal has
// the outcome that committing it had.
type kind struct {
	name string // plural, for people

	// catalog makes an empty tree for rows that are held in memory as a whole, and
	// repeated in the journal before its beginning is dropped.
	catalog func() rows
	// data is true for what apps keep: too much to be held in memory or repeated.
	data bool
	// journalOnly is true for rows that state.db gets at checkpoints only, or never.
	journalOnly bool

	// node is true for rows of the catalog that are not below the name of an app.
	node bool
	// ofApp lists those of them that are deleted with an app all the same.
	ofApp func(c *catalog, app string) (keys []string)
	// describesData is true for rows of the catalog by which data of the app is
	// understood: they are deleted after it.
	describesData bool

	// derive returns rows that follow from a change and are not in the journal:
	// they are in state.db beside those that they follow from.
	derive func(ch change, e before) ([]change, error)
	// expires returns when a row comes to its end, in microseconds; 0: never.
	expires func(row []byte) (int64, error)
	// enqueue returns the deliveries that a change asks for.
	enqueue func(c *catalog, ch change, by cause) ([]change, error)

	// staged does what else belongs to a change that a command stages.
	staged func(t *tx, ch change)
	// committed is told of a change that has become visible.
	committed func(s *Store, ch change)
	// recovered takes a row of state.db or of the journal into memory beside the
	// catalog, while the store opens.
	recovered func(s *Store, r *recovery, ch change) error
	// obsolete returns below which key rows are dropped at a checkpoint.
	obsolete func(now int64) (below []byte)

	// copied says what the rows are to others than the node itself; nil: nothing.
	copied copier
}

// kinds lists every kind of row.
var kinds = [maxTables]*kind{
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
}

// kind returns the kind of rows of a table; nil: this version knows none.
func (t table) kind() *kind {
	if int(t) < len(kinds) {
		return kinds[t]
	}
	return nil
}

func (t table) known() bool     { return t.kind() != nil }
func (t table) inCatalog() bool { k := t.kind(); return k != nil && k.catalog != nil }
func (t table) isData() bool    { k := t.kind(); return k != nil && k.data }

// tablesWhere lists the tables whose kind is as is says, by their numbers.
func tablesWhere(is func(*kind) bool) (list []table) {
	for t, k := range kinds {
		if k != nil && is(k) {
			list = append(list, table(t)) // #nosec G115 -- below maxTables
		}
	}
	return list
}

// hasData reports whether apps keep any data.
func (t *tables) hasData() bool {
	return slices.ContainsFunc(tablesWhere(func(k *kind) bool { return k.data }), func(tb table) bool { return t.count(tb, "", 1) > 0 })
}
