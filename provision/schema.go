package provision

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/picloud/picloud"
)

// Schema returns the JSON schema (draft 7, which editors of TOML understand) of app.toml.
// It knows the shape of the file. Whether scripts exist, schedules can be read and pauses of
// a retry fit each other is decided when the app is applied.
func Schema() []byte {
	root := tableSchema()
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = "An app of PiCloud (" + File + ")"
	for i := range Keys {
		k := &Keys[i]
		parent := root
		for part := range strings.SplitSeq(k.Table(), ".") {
			parent = within(parent, part)
		}
		parent["properties"].(object)[k.Name()] = k.schema()
		if k.Required {
			parent["required"] = append(parent["required"].([]string), k.Name())
		}
	}
	addKinds(within(within(root, "triggers"), "*"))
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("encode the schema of %s: %v", File, err)) // maps and texts alone
	}
	return append(b, '\n')
}

type object = map[string]any

func tableSchema() object {
	return object{"type": "object", "properties": object{}, "additionalProperties": false, "required": []string{}}
}

// within returns the schema of a part of a table; * stands for any of the tables in it.
func within(table object, part string) object {
	switch part {
	case "":
		return table
	case "*":
		for _, named := range table["patternProperties"].(object) {
			return named.(object)
		}
	}
	return table["properties"].(object)[part].(object)
}

func (k *Key) schema() object {
	var s object
	switch k.Type {
	case TypeText:
		s = k.textSchema()
	case TypeTexts:
		item := *k
		item.Longest = 0
		s = object{"type": "array", "items": item.textSchema(), "maxItems": k.Longest}
	case TypeSwitch:
		s = object{"type": "boolean"}
	case TypeInteger, TypeSeconds:
		s = object{"type": "number", "minimum": k.Min}
		if k.Type == TypeInteger {
			s["type"] = "integer"
		}
		if k.Max > 0 {
			s["maximum"] = k.Max
		}
	case TypeTable:
		s = tableSchema()
	case TypeNamed:
		s = object{"type": "object", "patternProperties": object{k.Pattern: tableSchema()}, "additionalProperties": false}
	}
	s["description"] = k.Text
	if k.Default != "" {
		s["description"] = k.Text + " Default: " + k.Default + "."
	}
	return s
}

func (k *Key) textSchema() object {
	s := object{"type": "string"}
	if k.Values != nil {
		s["enum"] = k.Values
	}
	if k.Pattern != "" {
		s["pattern"] = k.Pattern
	}
	if k.Longest > 0 {
		s["maxLength"] = k.Longest
	}
	return s
}

// addKinds refuses, for each kind of trigger, the keys that are for others.
func addKinds(trigger object) {
	var rules []object
	for _, kind := range triggerKinds {
		others := object{}
		for i := range Keys {
			k := &Keys[i]
			if k.Kinds != nil && !slices.Contains(k.Kinds, kind) {
				others[k.Name()] = false
			}
		}
		then := object{"properties": others}
		switch kind {
		case picloud.TriggerPubSub:
			then["not"] = object{"required": []string{"topic", "prefix"}}
		case picloud.TriggerCron:
			then["required"] = []string{"schedule"}
		default:
		}
		rules = append(rules, object{"if": object{"properties": object{"kind": object{"const": kind}}, "required": []string{"kind"}}, "then": then})
	}
	trigger["allOf"] = rules
}
