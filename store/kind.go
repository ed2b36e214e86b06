package store

// table numbers a kind of row. The numbers are on the disk: never change or
// reuse one.
type table byte

// maxTables bounds the numbers of tables.
const maxTables = 64

// rowKind is all that the engine has to know of one kind of row. It stands beside
// the row's type; kinds lists them all. A member that is nil does not apply.
//
// The functions are called by the committer, or while the store opens. They look
// at nothing but their arguments, so that replaying a change of the journal has
// the outcome that committing it had.
type rowKind struct {
	name string // plural, for people

	// catalog makes an empty tree for rows that are held in memory as a whole, and
	// repeated in the journal before its beginning is dropped.
	catalog func() rowTree
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
	derive func(ch change, e stateBefore) ([]change, error)
	// expires returns when a row comes to its end, in microseconds; 0: never.
	expires func(row []byte) (int64, error)
	// happened returns what a change tells triggers; ok is false when it tells nothing.
	// Deliveries hold only where the change is: it is asked again when they run.
	happened func(ch change, by cause) (m matched, ok bool, err error)
	// enqueue returns deliveries that a change asks for and that hold their data.
	enqueue func(ch change, by cause) ([]change, error)

	// holds adds a row, sign times, to what its app keeps. It must not fail: a row that
	// cannot be read counts as far as it can be.
	holds func(u *usage, key, row []byte, sign int64)

	// staged does what else belongs to a change that a command stages.
	staged func(t *tx, ch change)
	// committed is told of a change that has become visible.
	committed func(s *Store, ch change)
	// recovered takes a row of state.db or of the journal into memory beside the
	// catalog, while the store opens.
	recovered func(s *Store, r *recovery, ch change) error
	// obsolete returns below which key rows are dropped at a checkpoint.
	obsolete func(meta *checkpointMeta) (below []byte)

	// refers returns an error when what a row of a restored node refers to is not there, or
	// the row is one that no node makes. Whether its app is there is checked for every kind
	// below an app that has this member or is copied. Now is the newest time that is known.
	refers func(s *Store, ch change, now int64) error

	// copied says what the rows are to others than the node itself; nil: nothing.
	copied copier
}
