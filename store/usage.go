package store

import (
	"bytes"
	"slices"
	"sync"

	"github.com/picloud/picloud"
)

// What an app keeps is counted, so that it can be bounded. The counts are in no file:
// opening derives them from the rows of state.db and from what the journal changes of
// them, as committing does. So they are right after a crash, a restore and a deletion.

// amount is a number of rows and the bytes of their keys, themselves, and what
// belongs to them elsewhere, such as the content of a file.
type amount struct{ rows, bytes int64 }

func (a *amount) add(b amount, sign int64) {
	a.rows += sign * b.rows
	a.bytes += sign * b.bytes
}

// amountOf is one row, and bytes elsewhere.
func amountOf(key, row []byte, elsewhere int64) amount {
	return amount{rows: 1, bytes: int64(len(key)+len(row)) + elsewhere}
}

// usage is what an app keeps, as far as it is counted.
type usage struct {
	data      amount // key-value pairs, documents and files
	waiting   amount // requests of callers with a key that wait to be answered
	results   amount // answers to callers with a key
	anonymous amount // requests of anonymous callers, and answers to them
	scripts   amount // with their versions
	runs      amount // records of them
	letters   amount // dead letters
	dropped   int64  // dead letters that had to make room for those that are there
	keys      periodCounts
}

// holdsData counts rows of data.
func holdsData(u *usage, key, row []byte, sign int64) { u.data.add(amountOf(key, row, 0), sign) }

// account counts what the app of a name keeps.
type account struct {
	staged usage // by the committer, and seen by it alone

	mu        sync.Mutex // guards committed
	committed usage
}

func (a *account) publish() {
	a.mu.Lock()
	a.committed = a.staged
	a.mu.Unlock()
}

// read returns what is committed.
func (a *account) read() usage {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.committed
}

// accountOf returns the account of the app that a row belongs to.
func (s *Store) accountOf(c change) *account {
	key := c.key
	if c.table == tableIdem {
		key = key[min(len(key), idemPeriodBytes):]
	}
	app, _, _ := bytes.Cut(key, []byte{0})
	if q := s.commit.sequences[string(app)]; q != nil {
		return &q.account
	}
	return &s.sequenceOf(string(app)).account
}

// difference adds what a change does to the account of its app: before is the row that
// it replaces, nil if there is none.
func (k *rowKind) difference(u *usage, c change, before []byte) {
	if c.value != nil {
		k.holds(u, c.key, c.value, 1)
	}
	if before != nil {
		k.holds(u, c.key, before, -1)
	}
}

// recount takes a change into the account of its app at once, and returns that; nil:
// such rows are not counted.
func (s *Store) recount(c change, before []byte) *account {
	k := c.table.kind()
	if k == nil || k.holds == nil {
		return nil
	}
	a := s.accountOf(c)
	k.difference(&a.staged, c, before)
	return a
}

// stageCount takes a change that no command stages into the account of its app.
func (s *Store) stageCount(g *group, c change) {
	before, ok := g.staged(c.table, c.key)
	if !ok {
		before = s.tables.get(c.table, c.key)
	}
	if a := s.recount(c, before); a != nil {
		g.accounts = append(g.accounts, a)
	}
}

// publishAccounts makes what opening has counted visible.
func (s *Store) publishAccounts() {
	for _, q := range s.commit.sequences {
		q.account.publish()
	}
}

// counted is an account that the command at hand has changed, and what it was before.
type counted struct {
	account *account
	before  usage
}

// count takes a change of the command at hand into the account of its app.
func (t *tx) count(c change) {
	k := c.table.kind()
	if k.holds == nil {
		return
	}
	a, before := t.s.accountOf(c), t.get(c.table, c.key)
	if !slices.ContainsFunc(t.g.counted, func(c counted) bool { return c.account == a }) {
		t.g.counted = append(t.g.counted, counted{account: a, before: a.staged})
	}
	k.difference(&a.staged, c, before)
}

// usage returns what an app keeps, with all that was staged before. It is valid until
// the next change.
func (t *tx) usage(app string) *usage { return &t.s.sequenceOf(app).account.staged }

// withinQuota returns a public error when the command lets an app keep more than it
// may. Commands that free space, or need no more, pass.
func (t *tx) withinQuota() error {
	limit := t.s.cfg.DataBytes
	if limit <= 0 {
		return nil
	}
	for i := range t.g.counted {
		c := &t.g.counted[i]
		if now, had := c.account.staged.data.bytes, c.before.data.bytes; now > limit && now > had {
			return dataFull(had, now-had, limit)
		}
	}
	return nil
}

func dataFull(have, more, limit int64) error {
	return picloud.ErrAppFull.Detailf("The app keeps %d bytes of key-value pairs, documents and files, this needs %d more, and it may keep %d. Nothing was stored. Delete some, or raise quota.data_bytes.", have, more, limit)
}

// settle keeps what the command at hand has counted.
func (g *group) settle() {
	for i := range g.counted {
		g.accounts = append(g.accounts, g.counted[i].account)
	}
	g.counted = g.counted[:0]
}

// uncount takes back what the command at hand has counted, since it failed.
func (g *group) uncount() {
	for i := range g.counted {
		g.counted[i].account.staged = g.counted[i].before
	}
	g.counted = g.counted[:0]
}

// Usage returns what an app keeps, or picloud.ErrAppNotFound.
func (s *Store) Usage(app string) (picloud.Usage, error) {
	c := s.catalog.Load()
	row, err := c.app(app)
	if err != nil {
		return picloud.Usage{}, err
	}
	return s.usageOf(row, s.nameCounts(c)), nil
}

// Usages returns what each app keeps, sorted by name.
func (s *Store) Usages() []picloud.Usage {
	c := s.catalog.Load()
	names := s.nameCounts(c)
	var list []picloud.Usage
	for row := range each(c.apps(), "") {
		list = append(list, s.usageOf(row, names))
	}
	return list
}

func (s *Store) usageOf(row *appRow, names map[string]int64) picloud.Usage {
	u := row.sequence.account.read()
	return picloud.Usage{
		App:             row.App.Name,
		Data:            picloud.Amount{Items: u.data.rows, Bytes: u.data.bytes, MaxBytes: s.cfg.DataBytes},
		Results:         picloud.Amount{Items: u.results.rows + u.waiting.rows, MaxItems: s.cfg.Results, Bytes: u.results.bytes + u.waiting.bytes, MaxBytes: 2 * s.cfg.ResultBytes},
		Anonymous:       picloud.Amount{Items: u.anonymous.rows, MaxItems: s.cfg.Results, Bytes: u.anonymous.bytes, MaxBytes: s.cfg.AnonymousBytes},
		IdempotencyKeys: picloud.Amount{Items: u.keys.of(s.idemPeriod.Load()), MaxItems: s.cfg.IdempotencyKeys},
		TopicNames:      picloud.Amount{Items: names[row.App.Name], MaxItems: s.cfg.TopicNames},
		Scripts:         picloud.Amount{Items: u.scripts.rows, Bytes: u.scripts.bytes, MaxBytes: maxScriptBytes},
		Runs:            picloud.Amount{Items: u.runs.rows, Bytes: u.runs.bytes, MaxBytes: maxRunBytes},
		DeadLetters:     picloud.Amount{Items: u.letters.rows, MaxItems: maxDeadLetters, Bytes: u.letters.bytes, MaxBytes: maxDeadLetterBytes},
		LettersDropped:  u.dropped,
	}
}
