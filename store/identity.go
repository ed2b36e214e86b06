package store

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// identity is node.json and its copy: who this node is, whatever happens to its other files.
type identity struct {
	// Format is the version of everything in the directory. It is 0 in the first one,
	// which is 1.
	Format      uint64    `json:"format,omitempty"`
	ID          string    `json:"id"`
	Epoch       string    `json:"epoch"`
	Incarnation uint64    `json:"incarnation"`
	CreatedAt   time.Time `json:"created_at"`
	// LostLSN is the newest loss in the journal that the epoch accounts for, so
	// that replaying the same loss again does not begin another epoch.
	LostLSN uint64 `json:"lost_lsn,omitempty"`
	// KeepFiles is true once data was lost: contents without a file are kept
	// then, for a person to look at.
	KeepFiles bool `json:"keep_files,omitempty"`
	// RecoveryKey proves, when the card has died, that who restores the node
	// from Postgres may do so.
	RecoveryKey []byte `json:"recovery_key"`

	// New is true for an identity that was made for a node which had lost its own, until
	// that is an incident.
	New bool `json:"new,omitempty"`
	// Untold is what a start has found and mended, until it is incidents; nil: nothing.
	Untold *untold `json:"untold,omitempty"`

	// Forks tells where the epochs before this one ended, oldest first.
	Forks []fork `json:"forks,omitempty"`

	// Sum is the CRC-32C of the compact form of all the above, hexadecimal.
	Sum string `json:"crc32c,omitempty"`

	epoch picloud.Epoch
}

// fork says that the history of an epoch ended with a record of the journal:
// what follows is another history.
type fork struct {
	Epoch string `json:"epoch"`
	LSN   uint64 `json:"lsn"`
	// Open is true until the journal has been opened: only then it is known
	// where the epoch ended.
	Open bool `json:"open,omitempty"`
	// Copied is true for a card that another has gone on without: what both
	// have in common is what this one knows to be in the central copy.
	Copied bool `json:"copied,omitempty"`
}

// maxForks bounds what is remembered of earlier epochs.
const maxForks = 64

const identityFile = "node.json"

func newIdentity(now time.Time) identity {
	id := identity{ID: randomText(16), Incarnation: 1, CreatedAt: now.UTC().Truncate(time.Microsecond)}
	id.newEpoch()
	id.newRecoveryKey()
	return id
}

// recoveryKeySize is the length of a recovery key in bytes.
const recoveryKeySize = 32

func (id *identity) newRecoveryKey() {
	id.RecoveryKey = make([]byte, recoveryKeySize)
	mustRead(id.RecoveryKey)
}

// newEpoch begins another history: positions handed out before are foreign from
// now on.
func (id *identity) newEpoch() {
	var b [8]byte
	for id.epoch == 0 {
		mustRead(b[3:])
		id.epoch = picloud.Epoch(binary.BigEndian.Uint64(b[:]))
	}
	id.Epoch = id.epoch.String()
}

// renewEpoch is newEpoch for an identity that has one.
func (id *identity) renewEpoch() {
	id.Forks = append(id.Forks, fork{Epoch: id.Epoch, Open: true})
	id.Forks = id.Forks[max(0, len(id.Forks)-maxForks):]
	id.epoch = 0
	id.newEpoch()
}

// forking reports whether an epoch was renewed and the journal has not been opened
// since: the directory was restored, or another goes on with its history.
func (id *identity) forking() bool {
	return slices.ContainsFunc(id.Forks, func(f fork) bool { return f.Open })
}

// closeForks notes where epochs ended that were renewed without the journal at
// hand, and reports whether there were any.
func (id *identity) closeForks(last journal.LSN, copied uint64) bool {
	forked := false
	for i := range id.Forks {
		f := &id.Forks[i]
		if !f.Open {
			continue
		}
		f.LSN, f.Open, forked = uint64(last), false, true
		if f.Copied {
			f.LSN = min(f.LSN, copied)
		}
	}
	return forked
}

// sharedUpTo returns the newest record that this history has in common with
// the one an epoch named: everything, for the present epoch; nothing, for one
// that it does not know.
func (id *identity) sharedUpTo(epoch string) uint64 {
	shared := uint64(math.MaxUint64)
	if epoch == id.Epoch {
		return shared
	}
	for _, f := range slices.Backward(id.Forks) {
		shared = min(shared, f.LSN)
		if f.Epoch == epoch {
			return shared
		}
	}
	return 0
}

func (id *identity) node(name string) picloud.Node {
	return picloud.Node{ID: id.ID, Name: name, Epoch: id.epoch, Incarnation: id.Incarnation, CreatedAt: id.CreatedAt}
}

// writeFileSync replaces path: temporary file, fsync, rename, fsync of the
// directory.
func writeFileSync(path string, b []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // #nosec G304 -- below the data directory
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp) // the first error is the one to tell
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- below the data directory
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// damagedDir is where files are that were set aside.
const damagedDir = "damaged"

// setAside moves a file that cannot be used to damaged/ under a dated name, so
// that nothing is destroyed that a person might still want to look at.
func setAside(dir, name string, now time.Time) (string, error) {
	to, err := asideName(dir, name, now)
	if err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, to)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		return "", err
	}
	return to, errors.Join(syncDir(filepath.Join(dir, damagedDir)), syncDir(dir))
}

// keepAside does so for a file whose place another one is about to take: the file is
// there until then, where the file system can give it two names.
func keepAside(dir, name string, now time.Time) (string, error) {
	to, err := asideName(dir, name, now)
	if err != nil {
		return "", err
	}
	if err := os.Link(filepath.Join(dir, name), filepath.Join(dir, to)); err != nil {
		return setAside(dir, name, now)
	}
	return to, syncDir(filepath.Join(dir, damagedDir))
}

// asideName makes the directory of what is set aside and returns the name that a file
// gets there, relative to dir.
func asideName(dir, name string, now time.Time) (string, error) {
	if err := journal.MakeDamaged(journal.OS{}, filepath.Join(dir, damagedDir), now); err != nil {
		return "", err
	}
	return filepath.Join(damagedDir, name+"."+now.UTC().Format("20060102T150405.000000Z")), nil
}

// randomText returns n random bytes as lower-case base32 without padding.
func randomText(n int) string {
	b := make([]byte, n)
	mustRead(b)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

func mustRead(b []byte) {
	if _, err := rand.Read(b); err != nil {
		panic("crypto/rand failed: " + err.Error()) // documented never to happen
	}
}
