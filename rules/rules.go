// Package rules contains the rule bundle and loads it.
//
// Input: the embedded rule files beside this code: thresholds.yaml, then the tiers adapters/, native/, signals/ and alerts/. Output: the
// parsed groups, rule files that Prometheus loads, and the default of a threshold for code that does not query Prometheus. State: none. The
// YAML files are the only copy of every rule and number.
package rules

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

//go:generate go run ./gen

// FS holds the rule files under the names they have in the repository's rules
// folder.
//
//go:embed thresholds.yaml adapters/*.yaml native/*.yaml signals/*.yaml alerts/*.yaml
var FS embed.FS

// ThresholdPrefix and a signal's name make the name of the series that holds
// the signal's default threshold.
const ThresholdPrefix = "ml:threshold:"

// Override is the series of a threshold for one object. Users record it in their own rules.
const Override = "ml:threshold:override"

// carried is the end of each list of labels that passes on the label owner of an object's alerts.
const carried = "owner)"

// Carry returns the text of a rule file, or of one expression, in which alerts for datasets and models get further labels in addition to
// owner: the free labels of the exporters' configuration, such as "tier".
func Carry(text string, labels []string) string {
	if len(labels) == 0 {
		return text
	}
	return strings.ReplaceAll(text, carried, "owner, "+strings.Join(labels, ", ")+")")
}

// File is one rule file of the bundle.
type File struct {
	// Name is the slash-separated path of the file in FS.
	Name   string
	Groups []rulefmt.RuleGroup
}

// Bundle is the whole rule bundle.
type Bundle struct {
	// Files are in the order of their dependencies: thresholds, adapters, native histograms, signals, alerts.
	Files []File
}

// Options configure how the bundle is loaded. The zero value loads it unchanged.
type Options struct {
	// Speedup compresses time: with 60, an hour of the rules lasts a minute. 0 and 1 do not change time.
	Speedup float64
}

// Load parses the embedded rule files.
func Load(opts Options) (Bundle, error) {
	if err := opts.validate(); err != nil {
		return Bundle{}, err
	}
	var b Bundle
	for _, pattern := range []string{"thresholds.yaml", "adapters/*.yaml", "native/*.yaml", "signals/*.yaml", "alerts/*.yaml"} {
		names, err := fs.Glob(FS, pattern)
		if err != nil {
			return Bundle{}, fmt.Errorf("list %s: %w", pattern, err)
		}
		slices.Sort(names)
		for _, name := range names {
			groups, err := parse(name)
			if err != nil {
				return Bundle{}, err
			}
			if err := opts.compress(groups); err != nil {
				return Bundle{}, fmt.Errorf("compress time in %s: %w", name, err)
			}
			b.Files = append(b.Files, File{Name: name, Groups: groups})
		}
	}
	return b, nil
}

// Groups returns the groups of all files in order.
func (b Bundle) Groups() []rulefmt.RuleGroup {
	var groups []rulefmt.RuleGroup
	for _, f := range b.Files {
		groups = append(groups, f.Groups...)
	}
	return groups
}

// WriteDir writes the bundle as rule files into dir, which it creates if necessary. It returns their paths for the rule_files of a
// Prometheus configuration.
func (b Bundle) WriteDir(dir string) ([]string, error) {
	var paths []string
	for _, f := range b.Files {
		text, err := yaml.Marshal(rulefmt.RuleGroups{Groups: f.Groups})
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", f.Name, err)
		}
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("write the rules: %w", err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return nil, fmt.Errorf("write the rules: %w", err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// Threshold is the default of one signal.
type Threshold struct {
	Signal string
	Value  float64
}

// Thresholds returns the default of every signal in the order of thresholds.yaml, uncompressed.
func Thresholds() ([]Threshold, error) {
	groups, err := parse("thresholds.yaml")
	if err != nil {
		return nil, err
	}
	var thresholds []Threshold
	for _, group := range groups {
		for _, rule := range group.Rules {
			number, err := thresholdNumber(rule)
			if err != nil {
				return nil, err
			}
			thresholds = append(thresholds, Threshold{
				Signal: strings.TrimPrefix(rule.Record, ThresholdPrefix),
				Value:  number.Val,
			})
		}
	}
	return thresholds, nil
}

// Default returns the default threshold of a signal, such as "null_ratio". It returns false for an unknown signal.
func Default(signal string) (float64, bool) {
	thresholds, err := Thresholds()
	if err != nil {
		return 0, false // The file is embedded, and a test reads it.
	}
	i := slices.IndexFunc(thresholds, func(t Threshold) bool { return t.Signal == signal })
	if i < 0 {
		return 0, false
	}
	return thresholds[i].Value, true
}

func parse(name string) ([]rulefmt.RuleGroup, error) {
	text, err := FS.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, newParser(), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		return nil, fmt.Errorf("parse %s: %w", name, errors.Join(errs...))
	}
	return groups.Groups, nil
}

// newParser returns a parser without feature flags.
func newParser() parser.Parser { return parser.NewParser(parser.Options{}) }

// isThreshold reports whether a rule records a default threshold.
func isThreshold(rule rulefmt.Rule) bool { return strings.HasPrefix(rule.Record, ThresholdPrefix) }

// thresholdNumber returns the number of a threshold's rule, which is vector(number).
func thresholdNumber(rule rulefmt.Rule) (*parser.NumberLiteral, error) {
	expr, err := newParser().ParseExpr(rule.Expr)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", rule.Record, err)
	}
	call, ok := expr.(*parser.Call)
	if !isThreshold(rule) || !ok || call.Func.Name != "vector" {
		return nil, fmt.Errorf("%s is %q, expected a record %s<signal> of a vector(<number>)", rule.Record, rule.Expr, ThresholdPrefix)
	}
	number, ok := call.Args[0].(*parser.NumberLiteral)
	if !ok {
		return nil, fmt.Errorf("%s is %q, expected a number in it", rule.Record, rule.Expr)
	}
	return number, nil
}
