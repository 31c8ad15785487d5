// Command gen writes the files that are generated from the rules: docs/alerts.md, the series of scrapes in the tests of the adapters, and
// the tables of docs/adapters.md.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/prometheus/prometheus/model/rulefmt"
	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/rules"
	"github.com/sightglass-ml/sightglass/rules/ruleset"
)

func main() {
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// write writes all generated files, relative to the rules folder.
func write() error {
	files, err := adapterTests(".")
	if err != nil {
		return err
	}
	if files["../docs/alerts.md"], err = page("."); err != nil {
		return err
	}
	if files["../docs/adapters.md"], err = coverage("."); err != nil {
		return err
	}
	for path, text := range files {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write what was generated: %w", err)
		}
	}
	return nil
}

// page renders docs/alerts.md, from the rules folder.
func page(root string) (string, error) {
	bundle, err := ruleset.Load()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(`<!-- Written by go generate ./rules from rules/. Do not edit. -->

# Alerts

Every alert compares a recorded signal with its limit: the override of one dataset, column, model or field, or else the default below.
Its runbook says what it means, what to look at and what to do first.

| alert | layer | severity | response | fires for | what happened |
|---|---|---|---|---|---|
`)
	for _, group := range bundle.Groups() {
		for _, rule := range group.Rules {
			if rule.Alert != "" {
				fmt.Fprintf(&b, "| [%s](runbooks/%s.md) | %s | %s | %s | %s | %s |\n", rule.Alert, rule.Alert,
					rule.Labels["layer"], rule.Labels["severity"], response(rule), rule.For, rule.Annotations["summary"])
			}
		}
	}
	b.WriteString(`
*Fires for* is how long the condition must hold. Signals and alerts are groups of their own, so add up to two evaluation
intervals to the time from a scrape to an alert; the drift of datasets and the baselines of models are evaluated once a minute.

What happens to a model suddenly need not wait for an hour to fill with it: its drift and its evaluated answers are judged by
the last five minutes as well, which must be surer of what they see and, for drift, see more of it. Either window raises the
same alert, and the description says which it was.

## Recipients, reasons and false alarms

A page is for what a person must act on now and can. Who gets an alert follows from the routes of [alertmanager.md](alertmanager.md#routes). A
silence names the object, so that it hides nothing else; a limit that is wrong for one object is better corrected than silenced:
[operating.md](operating.md#limits-of-one-object).

`)
	judged, err := judgement(bundle, filepath.Join(root, "..", "docs", "runbooks"))
	if err != nil {
		return "", err
	}
	b.WriteString(judged)
	table, err := severities(bundle, severitiesFile)
	if err != nil {
		return "", err
	}
	b.WriteString(`### Severities

| alert | before | now | reason |
|---|---|---|---|
` + table + `
## Default thresholds

| signal | default | what it is, and why this much |
|---|---|---|
`)
	thresholds, err := rules.Thresholds()
	if err != nil {
		return "", err
	}
	reasons, err := comments()
	if err != nil {
		return "", err
	}
	for _, threshold := range thresholds {
		fmt.Fprintf(&b, "| `%s` | %v | %s |\n", threshold.Signal, threshold.Value, reasons[rules.ThresholdPrefix+threshold.Signal])
	}
	b.WriteString(`
Each is recorded as ` + "`ml:threshold:<signal>`" + `. Change a default in rules/thresholds.yaml or in the mixin's
` + "`_config.thresholds`" + `, and the value for one dataset, column, model or field in the exporter's configuration, which publishes it as
` + "`ml_dataset_threshold`" + ` or ` + "`ml_model_threshold`" + `.
`)
	return b.String(), nil
}

// comments returns the comment above each rule of thresholds.yaml by the name of its record.
func comments() (map[string]string, error) {
	text, err := rules.FS.ReadFile("thresholds.yaml")
	if err != nil {
		return nil, err
	}
	var file struct {
		Groups []struct{ Rules []yaml.Node }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("read the comments of thresholds.yaml: %w", err)
	}
	out := map[string]string{}
	for _, group := range file.Groups {
		for _, node := range group.Rules {
			var rule struct{ Record string }
			if err := node.Decode(&rule); err != nil {
				return nil, fmt.Errorf("read the comments of thresholds.yaml: %w", err)
			}
			comment := strings.ReplaceAll(node.HeadComment, "\n# ", " ")
			out[rule.Record] = strings.TrimPrefix(comment, "# ")
		}
	}
	return out, nil
}

// response returns the automated action of an alert. A retraining can be held back while the training data is broken, which the expression
// or the label decides.
func response(rule rulefmt.Rule) string {
	if m := heldBack.FindStringSubmatch(rule.Expr + rule.Labels["response"]); m != nil {
		return m[1] + ", unless held back"
	}
	return rule.Labels["response"]
}

var heldBack = regexp.MustCompile(`(?:"response", "|else }})(retrain)`)
