package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/picloud/picloud"
)

// SR-6: a backup whose rows or events no request of a client could have made is refused
// whole, whether they are in its checkpoint or in its journal alone.
func TestHostileRowOfABackupIsRefused(t *testing.T) {
	t.Parallel()
	trigger := picloud.Trigger{App: "default", Name: "t", ID: "../x", Kind: picloud.TriggerKV, Script: "s"}.WithDefaults()
	file := picloud.File{App: "default", Path: "p", Size: 6, SHA256: string(bytes.Repeat([]byte("0"), 64)), Version: 1, Blob: "../../etc/shadow"}
	for name, poison := range map[string]func(tx *tx){
		"content of a file": func(tx *tx) { tx.put(tableFile, pair("default", "p"), file) },
		"id of a trigger":   func(tx *tx) { tx.put(tableTrigger, pair("default", "t"), trigger) },
		"of another app": func(tx *tx) {
			tx.put(tableTopic, pair("default", "a"), picloud.Topic{App: "x", Name: "a"}.WithDefaults())
		},
		"an entry of no JSON": func(tx *tx) {
			tx.change(change{table: tableKV, key: []byte(pair("default", "k")), value: (&entryRow{Value: []byte("{"), Version: 1}).encode()})
		},
		"an event of no JSON": nil,
	} {
		for _, checkpoint := range []bool{false, true} {
			dir := t.TempDir()
			s, stop := open(t, dir)
			if poison != nil {
				if err := s.do(t.Context(), "", func(tx *tx) error { poison(tx); return nil }); err != nil {
					t.Fatal(err)
				}
			} else if _, err := s.Publish(t.Context(), picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "a", Data: []byte("1\n\ndata: 2")}}}); err != nil {
				t.Fatal(err)
			}
			if checkpoint {
				stop()
				s, _ = open(t, dir)
			}
			var archive bytes.Buffer
			if err := s.Backup(t.Context(), &archive); err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(t.TempDir(), "new")
			if _, err := Restore(Config{Dir: to}, Archived{From: &archive}); !errors.Is(err, ErrBackupDamaged) {
				t.Errorf("%s, in the checkpoint %v: %v", name, checkpoint, err)
			}
			if left, _ := os.ReadDir(to); len(left) > 1 {
				t.Errorf("%s: left behind: %v", name, left)
			}
		}
	}
}
