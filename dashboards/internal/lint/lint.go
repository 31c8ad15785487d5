package lint

import (
	"fmt"
	"strconv"
	"strings"
)

// Finding is one violation of one rule.
type Finding struct {
	Rule      string
	Dashboard string
	Panel     string // Empty for a finding about the dashboard.
	Target    int    // Index of the query, or -1.
	Metric    string // The selected series, for findings about a selector.
	Message   string
}

func (f Finding) String() string {
	where := strconv.Quote(f.Dashboard)
	if f.Panel != "" {
		where += ", panel " + strconv.Quote(f.Panel)
	}
	if f.Target >= 0 {
		where += fmt.Sprintf(", query %d", f.Target)
	}
	return f.Rule + ": dashboard " + where + ": " + f.Message
}

// Check runs every rule over one dashboard.
func Check(d Dashboard) []Finding {
	var out []Finding
	for _, rule := range dashboardRules {
		for _, message := range rule.check(d) {
			out = append(out, Finding{Rule: rule.name, Dashboard: d.Title, Target: -1, Message: message})
		}
	}
	for _, panel := range d.AllPanels() {
		for _, rule := range panelRules {
			for _, message := range rule.check(d, panel) {
				out = append(out, Finding{Rule: rule.name, Dashboard: d.Title, Panel: panel.Title, Target: -1, Message: message})
			}
		}
		for i, target := range panel.Targets {
			for _, rule := range targetRules {
				for _, problem := range rule.check(target) {
					out = append(out, Finding{
						Rule: rule.name, Dashboard: d.Title, Panel: panel.Title, Target: i,
						Metric: problem.metric, Message: problem.message,
					})
				}
			}
		}
	}
	return out
}

// Aggregated reports whether a series is recorded by rules, so that it has neither job nor instance.
func Aggregated(metric string) bool {
	return strings.Contains(metric, ":") || metric == "ALERTS" || metric == "ALERTS_FOR_STATE"
}
