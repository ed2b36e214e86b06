package check_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

// PG-2: text that no database takes is refused where it comes in, in every field of
// everything that has names, descriptions or settings.
func TestTextThatNoDatabaseTakesIsRefused(t *testing.T) {
	t.Parallel()
	trigger := func(kind picloud.TriggerKind) picloud.Trigger {
		return picloud.Trigger{Name: "t", Kind: kind, Script: "s", Schedule: map[bool]string{true: "@daily"}[kind == picloud.TriggerCron]}.WithDefaults()
	}
	// Fields that the node fills in, or of which the door looks at another copy.
	skipped := []string{"App", "ID", "Incarnation"}
	for _, c := range []struct {
		of    any
		check func(v any) error
	}{
		{picloud.App{Name: "a"}, func(v any) error { return check.App(v.(picloud.App)) }},
		{picloud.Topic{Name: "t"}.WithDefaults(), func(v any) error { return check.Topic(v.(picloud.Topic)) }},
		{picloud.APIKey{Label: "l", Scopes: []picloud.Scope{picloud.ScopeInstanceAdmin}}, func(v any) error { return check.APIKey(v.(picloud.APIKey)) }},
		{picloud.Script{Name: "s", Source: "export default 1"}, func(v any) error { s := v.(picloud.Script); return check.Script(s.Name, s.Source) }},
		{picloud.Endpoint{Name: "e", Script: "s", Method: "GET", Path: "/a", Auth: picloud.EndpointKey, Timeout: time.Second}, func(v any) error { return check.Endpoint(v.(picloud.Endpoint)) }},
		{picloud.File{Path: "a/b", Type: "image/jpeg"}, func(v any) error { f := v.(picloud.File); return check.File(f.Path, f.Type) }},
		{trigger(picloud.TriggerPubSub), func(v any) error { return check.Trigger(v.(picloud.Trigger)) }},
		{trigger(picloud.TriggerKV), func(v any) error { return check.Trigger(v.(picloud.Trigger)) }},
		{trigger(picloud.TriggerDocs), func(v any) error { return check.Trigger(v.(picloud.Trigger)) }},
		{trigger(picloud.TriggerFiles), func(v any) error { return check.Trigger(v.(picloud.Trigger)) }},
		{trigger(picloud.TriggerCron), func(v any) error { return check.Trigger(v.(picloud.Trigger)) }},
		{trigger(picloud.TriggerDeadLetter), func(v any) error { return check.Trigger(v.(picloud.Trigger)) }},
	} {
		if err := c.check(c.of); err != nil {
			t.Errorf("%+v: %v", c.of, err)
		}
		for i := range reflect.TypeOf(c.of).NumField() {
			field := reflect.TypeOf(c.of).Field(i)
			if field.Type.Kind() != reflect.String || slices.Contains(skipped, field.Name) || slices.Contains([]string{"SHA256", "Blob"}, field.Name) {
				continue
			}
			for _, text := range []string{"a\x00b", "\xff", "\xed\xa0\x80"} {
				v := reflect.New(reflect.TypeOf(c.of)).Elem()
				v.Set(reflect.ValueOf(c.of))
				v.Field(i).SetString(text)
				if err := c.check(v.Interface()); err == nil {
					t.Errorf("%T takes %s = %q", c.of, field.Name, text)
				} else if fmt.Sprint(err) == "" {
					t.Errorf("%T refuses %s without a word", c.of, field.Name)
				}
			}
		}
	}
}
