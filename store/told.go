package store

import (
	"strings"

	"github.com/picloud/picloud"
)

// told says which rows concern others than the node itself, and as what.
var told = map[table]struct {
	kind  picloud.ChangeKind
	value func(app, name string, row []byte) (any, error)
}{
	tableApp:        {picloud.ChangeApp, from(func(r appRow) any { return r.App })},
	tableTopic:      {picloud.ChangeTopic, plain[picloud.Topic]},
	tableKey:        {picloud.ChangeAPIKey, plain[picloud.APIKey]},
	tableSigning:    {picloud.ChangeSigningKey, plain[picloud.SigningKey]},
	tableClock:      {picloud.ChangeClock, from(clockRow.told)},
	tableKV:         {picloud.ChangeKV, func(app, name string, row []byte) (any, error) { return decodeEntry(app, name, row) }},
	tableDoc:        {picloud.ChangeDocument, func(app, name string, row []byte) (any, error) { return decodeDocument(pair(app, name), row) }},
	tableCollection: {picloud.ChangeCollection, from(func(r collectionRow) any { return r.Collection })},
	tableScript:     {picloud.ChangeScript, plain[picloud.Script]},
	tableTrigger:    {picloud.ChangeTrigger, plain[picloud.Trigger]},
	tableEndpoint:   {picloud.ChangeEndpoint, plain[picloud.Endpoint]},
	tableSecret:     {picloud.ChangeSecret, plain[picloud.Secret]},
	tableFile:       {picloud.ChangeFile, plain[picloud.File]},
	tableLetter:     {picloud.ChangeDeadLetter, from(func(r letterRow) any { return r.Letter })},
}

// changeOf returns what a row means to others; nil: nothing.
func changeOf(row change) (*picloud.Change, error) {
	as, ok := told[row.table]
	if !ok {
		return nil, nil //nolint:nilnil // a row that concerns the node alone is no change, and no fault
	}
	key := string(row.key)
	app, name, in := strings.Cut(key, "\x00")
	c := &picloud.Change{Kind: as.kind, App: app, Name: name}
	if !in { // an app, or what belongs to none
		c.Name = key
		if row.table != tableApp {
			c.App = ""
		}
	}
	if row.value == nil {
		return c, nil
	}
	var err error
	c.Value, err = as.value(app, name, row.value)
	return c, err
}

// plain is for rows that are told as they are kept.
func plain[T any](_, _ string, row []byte) (any, error) {
	var v T
	err := cborDecode(row, &v)
	return v, err
}

// from is for rows of which a part is told.
func from[T any](part func(T) any) func(_, _ string, row []byte) (any, error) {
	return func(_, _ string, row []byte) (any, error) {
		var r T
		if err := cborDecode(row, &r); err != nil {
			return nil, err
		}
		return part(r), nil
	}
}
