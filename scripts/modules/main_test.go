package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// A document lists the modules of the binary it is made from: here the test's own.
func TestSBOMOfABinary(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"sbom", self, "1.2.0"}, &out); err != nil {
		t.Fatal(err)
	}
	var document struct {
		Format     string      `json:"bomFormat"`
		Components []component `json:"components"`
	}
	if err := json.Unmarshal(out.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	if document.Format != "CycloneDX" || len(document.Components) == 0 || document.Components[0].Name != "std" || !strings.HasPrefix(document.Components[0].Version, "go1.") {
		t.Errorf("document: %s", out.String())
	}
}

// What may not be distributed stops the build.
func TestModuleWithoutLicenceIsRefused(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := writeNotice(&bytes.Buffer{}, "example.org/left-pad v1.0.0", folder); err == nil {
		t.Error("a module without a licence was accepted")
	}
	if err := os.WriteFile(folder+"/LICENSE.md", []byte("You may.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := writeNotice(&out, "example.org/left-pad v1.0.0", folder); err != nil || !strings.Contains(out.String(), "You may.") {
		t.Errorf("notice: %q, %v", out.String(), err)
	}
}
