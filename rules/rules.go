// Package rules contains the rule files and the defaults of their thresholds.
//
// Input: the embedded rule files beside this code: thresholds.yaml, then the tiers adapters/, native/, signals/ and alerts/. Output: the files
// under their names, and the default of a threshold for code that does not query Prometheus. State: none. The YAML files are the only copy of
// every rule and number. The package does not parse PromQL, so that an exporter that needs a threshold does not link Prometheus's engine;
// ruleset does.
package rules

import (
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"

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

// Threshold is the default of one signal.
type Threshold struct {
	Signal string
	Value  float64
}

// Thresholds returns the default of every signal in the order of thresholds.yaml.
func Thresholds() ([]Threshold, error) {
	text, err := FS.ReadFile("thresholds.yaml")
	if err != nil {
		return nil, fmt.Errorf("read the thresholds: %w", err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Record, Expr string
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("read thresholds.yaml: %w", err)
	}
	var thresholds []Threshold
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			signal, ok := strings.CutPrefix(rule.Record, ThresholdPrefix)
			value, isNumber := number(rule.Expr)
			if !ok || !isNumber {
				return nil, fmt.Errorf("%s is %q, expected a record %s<signal> of a vector(<number>)", rule.Record, rule.Expr, ThresholdPrefix)
			}
			thresholds = append(thresholds, Threshold{Signal: signal, Value: value})
		}
	}
	return thresholds, nil
}

// number returns the number in an expression of the form vector(<number>).
func number(expr string) (float64, bool) {
	text, opened := strings.CutPrefix(expr, "vector(")
	text, closed := strings.CutSuffix(text, ")")
	value, err := strconv.ParseFloat(text, 64)
	return value, opened && closed && err == nil
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
