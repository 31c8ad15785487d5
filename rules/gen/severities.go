package main

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/rules/ruleset"
)

//go:embed severities.yaml
var severitiesFile []byte

// severities renders the previous and the present severity of every alert, and the reason.
func severities(bundle ruleset.Set, file []byte) (string, error) {
	var judged map[string]struct{ Before, Reason string }
	if err := yaml.Unmarshal(file, &judged); err != nil {
		return "", fmt.Errorf("read severities.yaml: %w", err)
	}
	now := map[string][]string{}
	for _, group := range bundle.Groups() {
		for _, rule := range group.Rules {
			if severity := rule.Labels["severity"]; rule.Alert != "" && !slices.Contains(now[rule.Alert], severity) {
				now[rule.Alert] = append(now[rule.Alert], severity)
			}
		}
	}
	var errs []error
	for name := range judged {
		if now[name] == nil {
			errs = append(errs, fmt.Errorf("severities.yaml has %s, which is not an alert", name))
		}
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(now)) {
		row, ok := judged[name]
		if !ok || row.Reason == "" {
			errs = append(errs, fmt.Errorf("severities.yaml has no reason for the severity of %s", name))
		}
		if row.Before == "" {
			row.Before = "-"
		}
		fmt.Fprintf(&b, "| [%s](runbooks/%s.md) | %s | %s | %s |\n", name, name, row.Before, strings.Join(now[name], ", "), row.Reason)
	}
	return b.String(), errors.Join(errs...)
}
