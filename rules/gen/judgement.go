package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/rulefmt"

	"github.com/sightglass-ml/sightglass/rules/ruleset"
)

// recipient returns who receives an alert by the routes of alertmanager/alertmanager.yaml.
func recipient(rule rulefmt.Rule) string {
	switch severity := rule.Labels["severity"]; {
	case rule.Alert == "SightglassWatchdog":
		return "an external service that alerts when it stops"
	case strings.HasPrefix(rule.Alert, "Sightglass"):
		return "the operators of Sightglass (" + severity + ")"
	case rule.Labels["layer"] == "business":
		return "the owners of the budgets (" + severity + ")"
	case severity == "critical":
		return "the person on call (critical)"
	case severity == "warning":
		return "the team, without a page (warning)"
	default:
		return "the digest (info)"
	}
}

// judgement renders who receives each alert, why, its false alarms and how to silence it. The reasons come from the runbooks.
func judgement(bundle ruleset.Set, runbooks string) (string, error) {
	byAlert := map[string][]rulefmt.Rule{}
	var names []string
	for _, group := range bundle.Groups() {
		for _, rule := range group.Rules {
			if rule.Alert == "" {
				continue
			}
			if byAlert[rule.Alert] == nil {
				names = append(names, rule.Alert)
			}
			byAlert[rule.Alert] = append(byAlert[rule.Alert], rule)
		}
	}
	var b strings.Builder
	var errs []error
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(runbooks, name+".md"))
		if err != nil {
			return "", fmt.Errorf("read the runbook: %w", err)
		}
		impact, falseAlarms := section(string(text), "Impact"), section(string(text), "False alarms")
		if impact == "" || falseAlarms == "" {
			errs = append(errs, fmt.Errorf("runbook %s.md needs the sections Impact and False alarms", name))
		}
		heading, _, _ := strings.Cut(string(text), "\n\n## ")
		var who []string
		for _, rule := range byAlert[name] {
			if severity := rule.Labels["severity"]; !strings.Contains(heading, severity) {
				errs = append(errs, fmt.Errorf("runbook %s.md does not say that its severity can be %s", name, severity))
			}
			if w := recipient(rule); !slices.Contains(who, w) {
				who = append(who, w)
			}
		}
		silence := "amtool silence add --comment='<why>' --duration=2h alertname=" + name + object(byAlert[name])
		if name != watchdog && !strings.Contains(string(text), silence) {
			errs = append(errs, fmt.Errorf("runbook %s.md has no section Silence with the command %s", name, silence))
		}
		fmt.Fprintf(&b, "**[%s](runbooks/%s.md)** goes to %s.\n\n- Why: %s\n- False alarms: %s\n- Silence: `%s`\n\n",
			name, name, strings.Join(who, ", or "), impact, falseAlarms, silence)
	}
	return b.String(), errors.Join(errs...)
}

// watchdog always fires and must not be silenced.
const watchdog = "SightglassWatchdog"

var (
	lineBreak = regexp.MustCompile(`\s*\n\s*`)
	bullet    = regexp.MustCompile(`(?m)^- `)
	link      = regexp.MustCompile(`\]\((\w+\.md)`)
)

// section returns the first paragraph of a runbook's section, or its whole list, in one line, with links relative to docs/.
func section(text, heading string) string {
	_, after, ok := strings.Cut(text, "\n## "+heading+"\n\n")
	if !ok {
		return ""
	}
	after, _, _ = strings.Cut(after, "\n## ")
	after = strings.TrimSpace(after)
	if !strings.HasPrefix(after, "- ") {
		after, _, _ = strings.Cut(after, "\n\n")
	}
	after = bullet.ReplaceAllString(after, "")
	after = strings.ReplaceAll(link.ReplaceAllString(after, "](runbooks/$1"), "](../", "](")
	return lineBreak.ReplaceAllString(after, " ")
}

// object returns the matchers of a silence for one object: the labels by which the alert's text names it.
func object(alerts []rulefmt.Rule) string {
	var out strings.Builder
	texts := ""
	for _, rule := range alerts {
		for _, text := range rule.Annotations {
			texts += text
		}
	}
	for _, label := range []string{"dataset", "column", "model", "field", "department", "instance", "gpu", "job", "collector", "action", "rule_group", "signal"} {
		if regexp.MustCompile(`\$labels\.` + label + `\b`).MatchString(texts) {
			fmt.Fprintf(&out, " %s=<%s>", label, label)
		}
	}
	return out.String()
}
