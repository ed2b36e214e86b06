package check

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/picloud/picloud"
)

// Where reads the conditions of a query from JSON: an object that has for each field
// the value it equals, or an object of comparisons. They are sorted by field and
// comparison; empty text has none.
func Where(raw []byte) ([]picloud.Condition, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, picloud.ErrQueryInvalid.Detailf("where: send an object, such as {\"owner\": \"ada\", \"age\": {\"gte\": 18}}")
	}
	var list []picloud.Condition
	for field, value := range fields {
		if err := Field(field); err != nil {
			return nil, err
		}
		ops := map[string]json.RawMessage{string(picloud.OpEqual): value}
		if len(value) > 0 && value[0] == '{' {
			ops = nil
			if err := json.Unmarshal(value, &ops); err != nil || len(ops) == 0 {
				return nil, picloud.ErrQueryInvalid.Detailf("where.%s: use eq, gt, gte, lt, lte or prefix", field)
			}
		}
		for op, v := range ops {
			c, err := condition(field, picloud.Op(op), v)
			if err != nil {
				return nil, err
			}
			list = append(list, c)
		}
	}
	if len(list) > picloud.MaxConditions {
		return nil, picloud.ErrQueryInvalid.Detailf("where: it has %d conditions, the limit is %d", len(list), picloud.MaxConditions)
	}
	slices.SortFunc(list, func(a, b picloud.Condition) int {
		return strings.Compare(a.Field+"\x00"+string(a.Op), b.Field+"\x00"+string(b.Op))
	})
	return list, nil
}

func condition(field string, op picloud.Op, raw json.RawMessage) (picloud.Condition, error) {
	c := picloud.Condition{Field: field, Op: op}
	if err := json.Unmarshal(raw, &c.Value); err != nil {
		return c, picloud.ErrQueryInvalid.Detailf("where.%s: a number, a text, true, false or null is expected", field)
	}
	_, text := c.Value.(string)
	_, number := c.Value.(float64)
	_, truth := c.Value.(bool)
	switch op {
	case picloud.OpEqual:
		if !text && !number && !truth && c.Value != nil {
			return c, picloud.ErrQueryInvalid.Detailf("where.%s: a number, a text, true, false or null is expected", field)
		}
	case picloud.OpGreater, picloud.OpGreaterOrEqual, picloud.OpLess, picloud.OpLessOrEqual:
		if !text && !number {
			return c, picloud.ErrQueryInvalid.Detailf("where.%s.%s: a number or a text is expected", field, op)
		}
	case picloud.OpPrefix:
		if !text {
			return c, picloud.ErrQueryInvalid.Detailf("where.%s.prefix: a text is expected", field)
		}
	default:
		return c, picloud.ErrQueryInvalid.Detailf("where.%s: %q is not known: use eq, gt, gte, lt, lte or prefix", field, op)
	}
	return c, nil
}
