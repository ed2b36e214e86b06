package spool

import (
	"path/filepath"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

// Names of the folders that files are moved to.
const (
	archiveDir  = "archive"
	rejectedDir = "rejected"
)

// Place is where a file belongs.
type Place struct {
	App, Topic string
	Lines      bool // one event a line
}

// PlaceOf returns where a file belongs that lies at path, relative to the spool
// folder. The error says, to the user who dropped the file, what to do.
func PlaceOf(path string) (Place, error) {
	dir, name := filepath.Split(path)
	parts := strings.Split(strings.TrimSuffix(dir, "/"), "/")
	if len(parts) < 2 {
		return Place{}, picloud.ErrTopicNameInvalid.Detailf("files belong into a folder <app>/<topic>")
	}
	p := Place{App: parts[0], Topic: strings.Join(parts[1:], "/")}
	if err := check.AppName(p.App); err != nil {
		return Place{}, err
	}
	if err := check.TopicName(p.Topic); err != nil {
		return Place{}, err
	}
	for _, part := range parts[1:] {
		// Two paths must not name one topic, and no topic a folder of ours.
		if part == "" || part[0] == '.' || part == archiveDir || part == rejectedDir {
			return Place{}, picloud.ErrTopicNameInvalid.Detailf("the folder %q cannot be part of a topic here: publish to that topic by HTTP or with 'picloud publish'", part)
		}
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".json":
	case ".ndjson", ".jsonl":
		p.Lines = true
	default:
		return Place{}, picloud.ErrDataInvalid.Detailf("the file name says neither .json (one event) nor .ndjson or .jsonl (one event a line): rename it")
	}
	return p, nil
}

// ignored reports whether a name is one of those that programs give to files
// they have not finished, or that are hidden.
func ignored(name string) bool {
	if name == "" || name[0] == '.' || name[len(name)-1] == '~' {
		return true
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp":
		return true
	}
	return false
}
