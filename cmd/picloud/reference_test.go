package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/provision"
)

var update = flag.Bool("update", false, "write the generated parts of documents and packaging")

// upToDate compares a file with what it should be, or writes it with -update.
func upToDate(t *testing.T, name, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil { // #nosec G306 -- documents are for everybody
			t.Fatal(err)
		}
		return
	}
	is, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(is), want); diff != "" {
		t.Errorf("%s is not up to date ('go test ./cmd/picloud -run Reference -update' writes it):\n%s", name, diff)
	}
}

// partsUpToDate is upToDate for the generated parts of a document, which lie between comments.
func partsUpToDate(t *testing.T, name string, parts map[string]string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for part, body := range parts {
		begin, end := "<!-- begin "+part+" -->\n", "<!-- end "+part+" -->\n"
		before, rest, ok := strings.Cut(text, begin)
		_, after, ended := strings.Cut(rest, end)
		if !ok || !ended {
			t.Fatalf("%s has no %s…%s", name, begin, end)
		}
		text = before + begin + body + end + after
	}
	upToDate(t, name, text)
}

// cell is a text in a table of Markdown.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "<", "&lt;", "*.", "\\*.").Replace(text)
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// Every setting is in docs/config.md, as the table of settings has it.
func TestReferenceOfSettings(t *testing.T) {
	t.Parallel()
	var settings, pins, sensors strings.Builder
	for _, table := range settingTables() {
		if table.name != "" {
			fmt.Fprintf(&settings, "\n### %s\n\n", table.name)
		}
		settings.WriteString("| setting | type | default | |\n|---|---|---|---|\n")
		for _, s := range table.settings {
			live := ""
			if s.Live {
				live = " *Live.*"
			}
			fmt.Fprintf(&settings, "| `%s` | %s | %s | %s%s |\n", s.Key, cell(s.Form.String()), code(s.Default), cell(s.Text), live)
		}
	}
	pins.WriteString("| setting | of | type | |\n|---|---|---|---|\n")
	for i := range daemon.PinSettings {
		s := &daemon.PinSettings[i]
		fmt.Fprintf(&pins, "| `%s` | %s | %s | %s |\n", s.Key, pinsOf(s), cell(s.Form.String()), cell(s.Text))
	}
	sensors.WriteString("| setting | drivers | type | |\n|---|---|---|---|\n")
	for i := range daemon.SensorSettings {
		s := &daemon.SensorSettings[i]
		fmt.Fprintf(&sensors, "| `%s` | %s | %s | %s |\n", s.Key, or(s.For, "all"), cell(s.Form.String()), cell(s.Text))
	}
	partsUpToDate(t, "../../docs/config.md", map[string]string{"settings": settings.String(), "pins": pins.String(), "sensors": sensors.String()})
}

// The name of a variable follows from that of its setting, as docs/config.md says, and each setting has a type.
func TestSettingsFollowTheRules(t *testing.T) {
	t.Parallel()
	for i := range daemon.Settings {
		s := &daemon.Settings[i]
		if want := "PICLOUD_" + strings.ToUpper(strings.ReplaceAll(s.Key, ".", "_")); s.Env != want {
			t.Errorf("%s has the variable %s, want %s", s.Key, s.Env, want)
		}
		if s.Kind == "" || s.Text == "" {
			t.Errorf("%s has no type or no text: %q, %q", s.Key, s.Kind, s.Text)
		}
	}
}

var commented = regexp.MustCompile(`(?m)^#([a-z_]+ = )`)

// OP-4: the file that packages install parses as it is, and with every setting uncommented it says what a node is
// without a file.
func TestReferenceFileIsTheDefaults(t *testing.T) {
	t.Parallel()
	text := ok(t, daemon.Config{}, "config", "example")
	upToDate(t, "../../packaging/picloud.toml", text)
	if n := len(commented.FindAllString(text, -1)); n != len(daemon.Settings) {
		t.Errorf("%d settings are in the file, there are %d", n, len(daemon.Settings))
	}
	want := daemon.DefaultConfig().Show()
	file := filepath.Join(t.TempDir(), "picloud.toml")
	for name, content := range map[string]string{"as it is": text, "uncommented": commented.ReplaceAllString(text, "$1")} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := daemon.Load(daemon.Source{File: file})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, cfg.Show()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// What the file shows of pins and sensors is accepted, too.
func TestExampleOfPinsIsSound(t *testing.T) {
	t.Parallel()
	text := regexp.MustCompile(`(?m)^#   (\[|[a-z_]+ = )`).ReplaceAllString(configExample(), "$1")
	file := filepath.Join(t.TempDir(), "picloud.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := daemon.Load(daemon.Source{File: file})
	if err != nil || len(cfg.Pins) != 2 || len(cfg.Sensors) != 1 {
		t.Errorf("%d pins, %d sensors, %v", len(cfg.Pins), len(cfg.Sensors), err)
	}
}

// OP-1: no group lists a command twice.
func TestNoCommandIsListedTwice(t *testing.T) {
	t.Parallel()
	c := &cli{out: &output{w: new(bytes.Buffer)}}
	groups := []*cobra.Command{c.root()}
	for len(groups) > 0 {
		seen := map[string]bool{}
		for _, cmd := range groups[0].Commands() {
			if seen[cmd.Name()] {
				t.Errorf("%s lists %s twice", groups[0].CommandPath(), cmd.Name())
			}
			seen[cmd.Name()] = true
			groups = append(groups, cmd)
		}
		groups = groups[1:]
	}
}

// Every key of app.toml is in docs/apps.md, as the table of keys has it.
func TestReferenceOfApps(t *testing.T) {
	t.Parallel()
	parts := map[string]*strings.Builder{}
	for i := range provision.Keys {
		k := &provision.Keys[i]
		table, inner, _ := strings.Cut(k.Table(), ".*")
		name := or(table, "app")
		b := parts[name]
		if b == nil {
			b = new(strings.Builder)
			b.WriteString("| key | type | default | |\n|---|---|---|---|\n")
			parts[name] = b
		}
		text, otherwise := k.Text, code(k.Default)
		if k.Required {
			otherwise = "required"
		}
		if k.Kinds != nil {
			var of []string
			for _, kind := range k.Kinds {
				of = append(of, "`"+string(kind)+"`")
			}
			text = "Of " + strings.Join(of, ", ") + ". " + text
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", strings.TrimPrefix(inner+"."+k.Name(), "."), cell(k.Form()), otherwise, cell(text))
	}
	bodies := map[string]string{}
	for name, b := range parts {
		bodies[name] = b.String()
	}
	partsUpToDate(t, "../../docs/apps.md", bodies)
}

// picloud apply --schema prints JSON for editors, with no node about.
func TestApplySchema(t *testing.T) {
	t.Parallel()
	var schema map[string]any
	if err := json.Unmarshal([]byte(ok(t, daemon.Config{}, "apply", "--schema")), &schema); err != nil || schema["$schema"] == nil {
		t.Errorf("%v: %v", err, schema["$schema"])
	}
	for _, args := range [][]string{{"apply"}, {"apply", "--schema", "."}} {
		if _, says, code := do(t, daemon.Config{}, "", args...); code != exitUsage || !strings.Contains(says, "or use --schema") {
			t.Errorf("%v: %d %s", args, code, says)
		}
	}
}
