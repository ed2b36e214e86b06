package store_test

import (
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// DM-9, TR-1: triggers are not told of what comes back from a copy, after a crash neither.
func TestTriggersAreNotToldOfWhatComesBack(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir()}
	s := start(t, cfg)
	if _, err := s.SaveScript(t.Context(), picloud.Script{App: "default", Name: "s", Source: "//"}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	tr, err := s.SaveTrigger(t.Context(), picloud.Trigger{App: "default", Name: "t", Kind: picloud.TriggerKV, Script: "s", Enabled: true}.WithDefaults())
	if err != nil {
		t.Fatal(err)
	}
	e := picloud.Entry{App: "default", Key: "k", Value: []byte("1"), Version: 1}
	n, refused, err := s.Heal(t.Context(), s.LastLSN(), []picloud.Change{{Kind: picloud.ChangeKV, App: "default", Name: "k", Value: e}}, []uint64{0})
	if n != 1 || refused != nil || err != nil {
		t.Fatal(n, refused, err)
	}
	for _, s := range []*running{s, start(t, store.Config{Dir: copyDir(t, cfg.Dir)})} {
		if list, err := s.Deliveries(tr, 0, 10); len(list) > 0 || err != nil {
			t.Errorf("%+v, %v", list, err)
		}
		if got, err := s.Entry("default", "k"); err != nil || string(got.Value) != "1" {
			t.Errorf("%+v, %v", got, err)
		}
	}
}
