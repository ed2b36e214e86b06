package httpapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/pathpattern"
)

// docs is what the OpenAPI document says of a route beside what the route itself
// says. Parameters of the query that are not in it are refused.
type docs struct {
	summary string
	query   []queryParam
	body    any    // an example of the type; nil: none
	status  int    // of success; 0: 200
	answer  any    // an example of the type; nil: none
	stream  bool   // answers text/event-stream too
	binary  string // content type of an answer that is not JSON
}

type queryParam struct{ name, text string }

// anyJSON stands for any JSON value.
type anyJSON struct{}

type object = map[string]any

// document makes the OpenAPI 3.1 document from the table of routes.
func (s *Server) document() ([]byte, error) {
	schemas := object{"Problem": schemaOf(reflect.TypeFor[api.Problem](), nil)}
	paths := object{}
	for i := range s.routes {
		r := &s.routes[i]
		path := strings.ReplaceAll(r.pattern, "...}", "}")
		item, _ := paths[path].(object)
		if item == nil {
			item = object{}
			paths[path] = item
		}
		item[strings.ToLower(r.method)] = operation(r, schemas)
	}
	return json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "PiCloud", "version": s.cfg.Version,
			"description": "A small, dependable cloud for the room it stands in. Errors are problem documents (RFC 9457).",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":  []object{{"url": "/"}},
		"paths":    paths,
		"security": []object{{"bearer": []string{}}},
		"components": object{
			"schemas":         schemas,
			"securitySchemes": object{"bearer": object{"type": "http", "scheme": "bearer", "description": "An API key, or on event routes a subscriber token."}},
			"responses":       object{"Problem": object{"description": "What is wrong and what to do", "content": object{"application/problem+json": object{"schema": ref("Problem")}}}},
		},
	}, "", " ")
}

func ref(name string) object { return object{"$ref": "#/components/schemas/" + name} }

func operation(r *route, schemas object) object {
	status := r.status
	if status == 0 {
		status = 200
	}
	op := object{"summary": r.summary, "operationId": operationID(r)}
	if r.needs != "" {
		op["description"] = fmt.Sprintf("Needs the capability %s (scope %s).", r.needs, picloud.ScopeOf(r.needs))
	}
	if r.open {
		op["security"] = []object{}
	}
	var params []object
	for _, name := range pathpattern.MustParse(r.pattern).Names() {
		params = append(params, object{"name": name, "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, q := range r.query {
		params = append(params, object{"name": q.name, "in": "query", "description": q.text, "schema": object{"type": "string"}})
	}
	if params != nil {
		op["parameters"] = params
	}
	if r.body != nil {
		op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": schemaOf(reflect.TypeOf(r.body), schemas)}}}
	}
	if r.upload {
		op["requestBody"] = object{"required": true, "content": object{"*/*": object{"schema": object{"type": "string", "format": "binary"}}}}
	}
	content := object{}
	if r.answer != nil {
		content["application/json"] = object{"schema": schemaOf(reflect.TypeOf(r.answer), schemas)}
	}
	if r.stream {
		content["text/event-stream"] = object{"schema": object{"type": "string", "description": "Server-Sent Events; docs/protocol.md has the frames"}}
	}
	if r.binary != "" {
		content[r.binary] = object{"schema": object{"type": "string"}}
	}
	success := object{"description": "Success"}
	if len(content) > 0 {
		success["content"] = content
	}
	op["responses"] = object{fmt.Sprint(status): success, "default": object{"$ref": "#/components/responses/Problem"}}
	return op
}

// operationID names an operation by its method and path.
func operationID(r *route) string {
	name := strings.NewReplacer("/v1/", "", "{", "", "...}", "", "}", "").Replace(r.pattern)
	parts := strings.FieldsFunc(name, func(c rune) bool { return c == '/' || c == '-' || c == '.' })
	for i, p := range parts {
		parts[i] = strings.ToUpper(p[:1]) + p[1:]
	}
	if len(parts) == 0 {
		parts = []string{"Page"}
	}
	return strings.ToLower(r.method) + strings.Join(parts, "")
}

// schemaOf describes a type. Named structs go to schemas, when it is given, and
// are referred to.
func schemaOf(t reflect.Type, schemas object) object {
	switch t {
	case reflect.TypeFor[api.Time]():
		return object{"type": []string{"string", "null"}, "format": "date-time"}
	case reflect.TypeFor[anyJSON](), reflect.TypeFor[json.RawMessage]():
		return object{"description": "any JSON value"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		inner := schemaOf(t.Elem(), schemas)
		if kind, ok := inner["type"].(string); ok {
			inner["type"] = []string{kind, "null"}
		}
		return inner
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": schemaOf(t.Elem(), schemas)}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Struct:
		if t.PkgPath() == "time" {
			return object{"type": "string", "format": "date-time"}
		}
		if schemas == nil {
			return structSchema(t, schemas)
		}
		if schemas[t.Name()] == nil {
			schemas[t.Name()] = object{} // stops a type that holds itself
			schemas[t.Name()] = structSchema(t, schemas)
		}
		return ref(t.Name())
	default:
		return object{"type": "integer"}
	}
}

func structSchema(t reflect.Type, schemas object) object {
	properties, required := object{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || name == "" || f.Tag.Get("openapi") == "-" {
			continue
		}
		properties[name] = schemaOf(f.Type, schemas)
		if option != "omitempty" {
			required = append(required, name)
		}
	}
	return object{"type": "object", "properties": properties, "required": required}
}

func (s *Server) showOpenAPI(r *request) error {
	doc, err := s.openapi()
	if err != nil {
		return err
	}
	r.SetContentType("application/json")
	r.shared(doc)
	return nil
}
