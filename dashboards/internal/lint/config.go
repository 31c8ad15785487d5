package lint

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Config is dashboard-linter's .lint file.
type Config struct {
	Exclusions map[string]*RuleEntries `yaml:"exclusions"`
}

// RuleEntries are the exclusions of one rule.
type RuleEntries struct {
	Reason  string  `yaml:"reason"`
	Entries []Entry `yaml:"entries"`
}

// Entry excludes one panel. dashboard-linter knows a panel by its title.
type Entry struct {
	Dashboard string `yaml:"dashboard"`
	Panel     string `yaml:"panel"`
}

// ParseConfig reads a .lint file. An unknown key is an error, because dashboard-linter ignores it silently.
func ParseConfig(body []byte) (Config, error) {
	var c Config
	decoder := yaml.NewDecoder(bytes.NewReader(body))
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("parse .lint: %w", err)
	}
	for rule, entries := range c.Exclusions {
		if entries == nil || entries.Reason == "" || len(entries.Entries) == 0 {
			return Config{}, fmt.Errorf("parse .lint: %s needs a reason and the panels it is for", rule)
		}
	}
	return c, nil
}

// Excludes reports whether a finding is excluded.
func (c Config) Excludes(f Finding) bool {
	entries := c.Exclusions[f.Rule]
	return entries != nil && slices.Contains(entries.Entries, Entry{Dashboard: f.Dashboard, Panel: f.Panel})
}

// excuse returns the reason why a rule may be broken: a query of recorded series, or a currency unit. It is empty if there is none.
func excuse(f Finding) string {
	switch {
	case f.Rule == "target-job-rule" && Aggregated(f.Metric):
		return "Reads series that rules recorded, which keep cluster, namespace and the observed object, and have no job."
	case f.Rule == "target-instance-rule" && Aggregated(f.Metric):
		return "Reads series that rules recorded, which keep cluster, namespace and the observed object, and have no instance."
	case f.Rule == "panel-units-rule" && strings.HasSuffix(f.Message, "is custom"):
		return "Canadian dollars are a custom unit of Grafana's, currency:C$."
	}
	return ""
}

// Exclusions returns the .lint file for a set of dashboards, with one entry for every panel with an excuse.
func Exclusions(dashboards []Dashboard) ([]byte, error) {
	config := Config{Exclusions: map[string]*RuleEntries{}}
	for _, d := range dashboards {
		for _, f := range Check(d) {
			reason := excuse(f)
			if reason == "" {
				continue
			}
			if config.Exclusions[f.Rule] == nil {
				config.Exclusions[f.Rule] = &RuleEntries{Reason: reason}
			}
			entries := config.Exclusions[f.Rule]
			entry := Entry{Dashboard: f.Dashboard, Panel: f.Panel}
			if !slices.Contains(entries.Entries, entry) {
				entries.Entries = append(entries.Entries, entry)
			}
		}
	}
	var out bytes.Buffer
	out.WriteString("# Generated with the dashboards. Exclusions for github.com/grafana/dashboard-linter and mixtool.\n")
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(config); err != nil {
		return nil, fmt.Errorf("write .lint: %w", err)
	}
	return out.Bytes(), nil
}

// Unused returns the exclusions without a finding.
func (c Config) Unused(findings []Finding) []string {
	var out []string
	for _, rule := range slices.Sorted(maps.Keys(c.Exclusions)) {
		for _, entry := range c.Exclusions[rule].Entries {
			if !slices.ContainsFunc(findings, func(f Finding) bool {
				return f.Rule == rule && f.Dashboard == entry.Dashboard && f.Panel == entry.Panel
			}) {
				out = append(out, fmt.Sprintf("%s: %s / %s", rule, entry.Dashboard, entry.Panel))
			}
		}
	}
	return out
}
