// Package jsonnet generates the files from which the mixin in this folder is built.
//
// Input: the rule bundle and the dashboards. Output: copies of them under
// generated/: jsonnet-bundler vendors a repository's subdirectory and nothing
// above it, so that an import of ../rules would work for us and for nobody
// else. The package keeps no state; a test fails when a copy is out of date.
package jsonnet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/sightglass-ml/sightglass/dashboards"
	"github.com/sightglass-ml/sightglass/rules"
	"github.com/sightglass-ml/sightglass/rules/ruleset"
)

//go:generate go run ./gen

// token is a matcher that matches every series without such a label, which is
// every series. The mixin puts the user's matchers in its place.
const token = `sightglass_selector=""` //nolint:gosec // No credential: a label matcher.

// bundle is generated/rules.json.
type bundle struct {
	Thresholds []group `json:"thresholds"`
	Rules      []group `json:"rules"`
	Alerts     []group `json:"alerts"`
}

type group struct {
	Name     string `json:"name"`
	Interval string `json:"interval,omitempty"`
	Rules    []rule `json:"rules"`
}

type rule struct {
	Record        string            `json:"record,omitempty"`
	Alert         string            `json:"alert,omitempty"`
	Expr          string            `json:"expr"`
	For           string            `json:"for,omitempty"`
	KeepFiringFor string            `json:"keep_firing_for,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Files returns the generated files by their slash-separated paths.
func Files() (map[string][]byte, error) {
	files := map[string][]byte{}
	loaded, err := ruleset.Load()
	if err != nil {
		return nil, err
	}
	copied, err := copyRules(loaded)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(copied); err != nil {
		return nil, fmt.Errorf("encode the rules: %w", err)
	}
	files["generated/rules.json"] = text.Bytes()

	boards, err := dashboards.Files()
	if err != nil {
		return nil, err
	}
	var list strings.Builder
	list.WriteString("{\n")
	for _, name := range slices.Sorted(maps.Keys(boards)) {
		if file := path.Base(name); path.Dir(name) == "json" && path.Ext(name) == ".json" {
			files["generated/dashboards/"+file] = boards[name]
			fmt.Fprintf(&list, "  '%s': import 'dashboards/%s',\n", file, file)
		}
	}
	list.WriteString("}\n")
	files["generated/dashboards.libsonnet"] = []byte(list.String())
	return files, nil
}

func copyRules(loaded ruleset.Set) (bundle, error) {
	recorded := map[string]bool{}
	for _, g := range loaded.Groups() {
		for _, r := range g.Rules {
			recorded[r.Record] = true
		}
	}
	var out bundle
	for _, f := range loaded.Files {
		for _, g := range f.Groups {
			copied := group{Name: g.Name}
			if g.Interval != 0 {
				copied.Interval = g.Interval.String()
			}
			for _, r := range g.Rules {
				c, err := copyRule(r, recorded)
				if err != nil {
					return bundle{}, fmt.Errorf("%s%s: %w", r.Record, r.Alert, err)
				}
				copied.Rules = append(copied.Rules, c)
			}
			switch dir := path.Dir(f.Name); dir {
			case ".":
				out.Thresholds = append(out.Thresholds, copied)
			case "alerts":
				out.Alerts = append(out.Alerts, copied)
			default:
				out.Rules = append(out.Rules, copied)
			}
		}
	}
	return out, nil
}

func copyRule(r rulefmt.Rule, recorded map[string]bool) (rule, error) {
	expr, err := insertToken(r.Expr, recorded)
	if err != nil {
		return rule{}, err
	}
	c := rule{Record: r.Record, Alert: r.Alert, Expr: expr, Labels: r.Labels, Annotations: r.Annotations}
	if r.For != 0 {
		c.For = r.For.String()
	}
	if r.KeepFiringFor != 0 {
		c.KeepFiringFor = r.KeepFiringFor.String()
	}
	return c, nil
}

// insertToken adds the token to every selector of a series that no rule
// records: those are read from where a user's matchers still mean something. It
// edits the text, so that taking the token out gives the text back.
func insertToken(text string, recorded map[string]bool) (string, error) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return "", err
	}
	var ends []int
	var refused error
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok && !recorded[s.Name] && s.Name != rules.Override {
			if s.OriginalOffset != 0 || s.OriginalOffsetExpr != nil || s.Timestamp != nil || s.StartOrEnd != 0 {
				refused = fmt.Errorf("%s is not recorded and looks back: record it first", s)
			}
			ends = append(ends, int(s.PosRange.End))
		}
		return nil
	})
	if refused != nil {
		return "", refused
	}
	slices.Sort(ends)
	for _, end := range slices.Backward(ends) {
		if text[end-1] == '}' {
			text = text[:end-1] + ", " + token + text[end-1:]
		} else {
			text = text[:end] + "{" + token + "}" + text[end:]
		}
	}
	return text, nil
}
