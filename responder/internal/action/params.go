package action

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"time"
)

// Params are all values of an alert that a target may receive. They are only data: no URL, header or name of a target is
// built from them.
type Params struct {
	Key              string    `json:"idempotency_key"`
	Action           string    `json:"action"`
	Alertname        string    `json:"alertname"`
	Severity         string    `json:"severity"`
	Cluster          string    `json:"cluster"`
	Namespace        string    `json:"namespace"`
	Model            string    `json:"model"`
	Version          string    `json:"version"`
	MLflowRunID      string    `json:"mlflow_run_id"`
	Dataset          string    `json:"dataset"`
	LastGoodSnapshot string    `json:"last_good_snapshot"`
	TraceID          string    `json:"trace_id"`
	StartsAt         time.Time `json:"starts_at"`
}

// newKey returns the permanent idempotency key of an action on one firing of an alert.
func newKey(alertID, name string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%d:%s", len(alertID), alertID, len(name), name))
	return hex.EncodeToString(sum[:16])
}

// required has the names that `requires` may list.
var required = map[string]func(Params) string{
	"model":              func(p Params) string { return p.Model },
	"version":            func(p Params) string { return p.Version },
	"mlflow_run_id":      func(p Params) string { return p.MLflowRunID },
	"dataset":            func(p Params) string { return p.Dataset },
	"last_good_snapshot": func(p Params) string { return p.LastGoodSnapshot },
	"trace_id":           func(p Params) string { return p.TraceID },
}

// missing returns the names for which p has no value.
func (p Params) missing(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return required[name](p) != "" })
}

// tree is a JSON value whose strings are templates. They are expanded before the value is encoded, so that the content of a
// label stays inside its string.
type tree struct{ root any }

// newTree checks the templates of a decoded YAML value.
func newTree(value any) (tree, error) {
	t := tree{value}
	_, err := t.fill(Params{StartsAt: time.Unix(0, 0)})
	return t, err
}

func (t tree) fill(p Params) ([]byte, error) {
	filled, err := fill(t.root, p)
	if err != nil {
		return nil, err
	}
	return json.Marshal(filled)
}

func fill(node any, p Params) (any, error) {
	switch node := node.(type) {
	case string:
		return expand(node, p)
	case []any:
		out := make([]any, len(node))
		for i, child := range node {
			var err error
			if out[i], err = fill(child, p); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(node))
		for key, child := range node {
			var err error
			if out[key], err = fill(child, p); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
		}
		return out, nil
	case nil, bool, int, int64, uint64, float64:
		return node, nil
	default:
		return nil, fmt.Errorf("a %T has no form in JSON; quote it to make it text", node)
	}
}

// errTemplate replaces text/template's message, which begins with "template: :1:3:".
func errTemplate(text string, err error) error {
	message := err.Error()
	if _, after, ok := strings.Cut(message, "template: :"); ok {
		message = after
	}
	return fmt.Errorf("%q is no template of an alert's values: %s", text, message)
}

func expand(text string, p Params) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	t, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", errTemplate(text, err)
	}
	var b strings.Builder
	if err := t.Execute(&b, p); err != nil {
		return "", errTemplate(text, err)
	}
	return b.String(), nil
}

// Templates maps the parameters of a target to templates of their values.
type Templates map[string]string

// defaultTemplates has all values.
func defaultTemplates() Templates {
	return Templates{
		"action": "{{ .Action }}", "alertname": "{{ .Alertname }}", "model": "{{ .Model }}", "version": "{{ .Version }}",
		"mlflow_run_id": "{{ .MLflowRunID }}", "dataset": "{{ .Dataset }}", "last_good_snapshot": "{{ .LastGoodSnapshot }}",
		"trace_id": "{{ .TraceID }}", "idempotency_key": "{{ .Key }}",
	}
}

// check reports invalid templates.
func (t Templates) check() error {
	_, err := newTree(t.values())
	return err
}

// values returns the templates as a tree.
func (t Templates) values() map[string]any {
	if t == nil {
		t = defaultTemplates()
	}
	out := make(map[string]any, len(t))
	for name, text := range t {
		out[name] = text
	}
	return out
}

// assignments returns the expanded templates as sorted "name=value" strings.
func (t Templates) assignments() []any {
	values := t.values()
	out := make([]any, 0, len(values))
	for name, text := range values {
		out = append(out, fmt.Sprintf("%s=%s", name, text))
	}
	slices.SortFunc(out, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return out
}

var errNoValue = errors.New("the answer has no such field")

// lookup returns the string or number at a dotted path of a JSON value.
func lookup(value any, path string) (string, error) {
	for _, key := range strings.Split(path, ".") {
		object, ok := value.(map[string]any)
		if !ok {
			return "", fmt.Errorf("%s: %w", path, errNoValue)
		}
		value = object[key]
	}
	switch value := value.(type) {
	case string:
		return value, nil
	case json.Number:
		return value.String(), nil
	case nil:
		return "", fmt.Errorf("%s: %w", path, errNoValue)
	default:
		return "", fmt.Errorf("%s: is a %T in the answer; want a text or a number", path, value)
	}
}
