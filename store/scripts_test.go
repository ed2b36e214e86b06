package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// SC-1: a script has a version for every save that changed it; the newest are
// kept, over restarts, and deleting it takes them along.
func TestScriptsHaveVersions(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir()}
	s := start(t, cfg)
	save := func(source string, cond picloud.Precondition) (picloud.Script, error) {
		return s.SaveScript(t.Context(), picloud.Script{App: "default", Name: "door", Source: source}, cond)
	}
	for i := range picloud.MaxScriptVersions + 5 {
		for range 2 { // the second changes nothing
			if sc, err := save(fmt.Sprint("// ", i), picloud.Precondition{}); err != nil || sc.Version != uint64(i+1) {
				t.Fatalf("saved %+v, %v", sc, err)
			}
		}
	}
	if _, err := save("// late", picloud.Precondition{Version: 3}); !errors.Is(err, picloud.ErrPrecondition) {
		t.Errorf("a script that has changed since was overwritten: %v", err)
	}
	if _, err := save(" \n", picloud.Precondition{}); !errors.Is(err, picloud.ErrScriptInvalid) {
		t.Errorf("an empty script was saved: %v", err)
	}
	s.stop(t)
	s = start(t, cfg)
	list, err := s.ScriptVersions("default", "door")
	if err != nil || len(list) != picloud.MaxScriptVersions || list[0].Version != 6 || list[len(list)-1].Source != "// 24" {
		t.Errorf("%d versions from %d on, %v", len(list), list[0].Version, err)
	}
	if sc, err := s.ScriptVersion("default", "door", 10); err != nil || sc.Source != "// 9" {
		t.Errorf("version 10 is %+v, %v", sc, err)
	}
	if _, err := s.ScriptVersion("default", "door", 5); !errors.Is(err, picloud.ErrScriptNotFound) {
		t.Errorf("version 5 is still there: %v", err)
	}
	if err := s.DeleteScript(t.Context(), "default", "door", picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	if list, err := s.ScriptVersions("default", "door"); !errors.Is(err, picloud.ErrScriptNotFound) {
		t.Errorf("of a deleted script there are %d versions, %v", len(list), err)
	}
}

// SC-6: the records of the latest runs of each script are there, newest first, at
// once and after an orderly end.
func TestRunsAreKept(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	cfg := store.Config{Dir: t.TempDir(), Now: clock.Now}
	s := start(t, cfg)
	run := func(script string, i int) {
		clock.move(time.Millisecond)
		s.RecordRun(picloud.Run{App: "default", Script: script, Cause: fmt.Sprint(i), StartedAt: clock.Now(), Outcome: picloud.RunOK, Lines: []picloud.RunLine{{At: clock.Now(), Level: "info", Text: strings.Repeat("x", 1000)}}})
	}
	check := func(when string) {
		t.Helper()
		list, err := s.Runs("default", "door", "", 100)
		if err != nil || len(list) != 50 || list[0].Cause != "119" || list[49].Cause != "70" || len(list[0].Lines) != 1 {
			t.Fatalf("%s: %d runs, %v", when, len(list), err)
		}
		if list, err = s.Runs("default", "", list[1].ID, 100); err != nil || len(list) != 2 || list[0].Script != "doorbell" || list[1].Cause != "119" {
			t.Fatalf("%s: after one id there are %d runs, %v", when, len(list), err)
		}
	}
	for i := range 60 {
		run("door", i)
	}
	clock.move(time.Minute) // the records are due
	if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: "k", Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	for i := 60; i < 120; i++ {
		run("door", i)
	}
	news := s.RunRecorded()
	run("doorbell", 0)
	<-news
	check("at once")
	s.stop(t)
	s = start(t, cfg)
	check("after a restart")
}
