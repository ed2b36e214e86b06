package store

import (
	"bytes"
	"fmt"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/journal"
)

// checkContents returns an error when a directory that was unpacked from an archive has
// a row or an event that no request of a client could have made, or something newer. It
// changes nothing; what is damaged is left to those who open it.
func checkContents(dir string) error {
	cfg := Config{Dir: dir}
	if err := checkFormats(&cfg); err != nil {
		return err
	}
	var fault error
	err := peekBolt(filepath.Join(dir, stateFile), func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucketRows); b != nil {
			fault = b.ForEach(func(k, v []byte) error {
				if len(k) == 0 {
					return nil
				}
				return checkRow(change{table: table(k[0]), key: k[1:], value: v})
			})
		}
		return nil
	})
	if fault != nil {
		return fmt.Errorf("%w: %w", ErrBackupDamaged, fault)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBackupDamaged, err)
	}
	jc := cfg.journal(1)
	jc.Peeked = false
	return journal.Peek(jc, 0, func(_ string, r *journal.Record) error {
		if err := checkRecord(r); err != nil {
			return fmt.Errorf("%w: record %d: %w", ErrBackupDamaged, r.LSN, err)
		}
		return nil
	})
}

// checkRow returns an error for a row that is copied to others and fails the checks by
// which it would be restored, or is not the row that they would make of it.
func checkRow(ch change) error {
	k := ch.table.kind()
	if k == nil || k.copied == nil || ch.value == nil {
		return nil
	}
	is, err := changeOf(ch)
	if err != nil || is.Value == nil {
		return err
	}
	rows, err := k.copied.restore(&restorer{lsn: 1}, is.Value)
	if err != nil {
		return fmt.Errorf("%s %q of app %q: %w", is.Kind, is.Name, is.App, err)
	}
	for _, row := range rows {
		if row.table == ch.table && bytes.Equal(row.key, ch.key) {
			return nil
		}
	}
	if len(rows) > 0 {
		return fmt.Errorf("%s %q of app %q says of itself that it is another", is.Kind, is.Name, is.App)
	}
	return nil
}

func checkRecord(r *journal.Record) error {
	switch r.Kind {
	case kindChange:
		ch, err := parseChange(r.Body)
		if err != nil {
			return err
		}
		return checkRow(ch)
	case kindEvent:
		e, err := parseEvent(0, r)
		if err != nil {
			return err
		}
		if err := check.AppName(e.App); err != nil {
			return err
		}
		if err := check.AnyTopicName(e.Topic); err != nil {
			return err
		}
		var data bytes.Buffer
		if err := check.CompactJSON(&data, e.Data); err != nil {
			return err
		}
		if !bytes.Equal(data.Bytes(), e.Data) { // the frames of streams rely on it
			return fmt.Errorf("the data of an event of topic %q are not compact JSON", e.Topic)
		}
	}
	return nil
}
