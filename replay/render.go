package replay

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Write writes a verdict as a table, as json or as markdown.
func (v Verdict) Write(w io.Writer, format string) error {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "markdown":
		_, err := io.WriteString(w, v.text(func(b *strings.Builder, header []string, rows [][]string) {
			fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(header, " | "), strings.Repeat("---|", len(header)))
			for _, r := range rows {
				fmt.Fprintf(b, "| %s |\n", strings.Join(r, " | "))
			}
		}))
		return err
	}
	_, err := io.WriteString(w, v.text(func(b *strings.Builder, header []string, rows [][]string) {
		t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
		for _, r := range append([][]string{header}, rows...) {
			_, _ = fmt.Fprintln(t, strings.Join(r, "\t")) // A strings.Builder takes everything.
		}
		_ = t.Flush()
	}))
	return err
}

// The case study that Sightglass's promise is taken from.
const caseStudy = "case study: 11m to detect, under 6 % false alarms"

func (v Verdict) text(table func(b *strings.Builder, header []string, rows [][]string)) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d run(s), %.1f weeks judged; %d alerts, %d false: %.2f a week, %.1f %% (%s)\n\n",
		v.Scenario, v.Seeds, v.Weeks, v.Alerts, v.False, v.FalseAlarmsPerWeek, 100*v.FalseAlarmShare, caseStudy)
	if len(v.Classes) > 0 {
		var rows [][]string
		for _, c := range v.Classes {
			row := []string{c.Class, fmt.Sprint(c.Incidents), fmt.Sprint(c.Missed), "–", "–", "–", "–", strings.Join(c.FoundBy, ", "), fmt.Sprintf("%.1f", c.With)}
			if len(c.delays) > 0 {
				row[3], row[4], row[5] = c.Median.String(), c.P95.String(), c.Worst.String()
			}
			if c.MinLead != nil {
				row[6] = c.MinLead.String()
			}
			rows = append(rows, row)
		}
		table(&b, []string{"incident", "times", "missed", "median", "p95", "worst", "lead", "found by", "others"}, rows)
		b.WriteByte('\n')
	}
	if len(v.FalseBy) > 0 {
		var rows [][]string
		for i, f := range v.FalseBy {
			if i == 40 {
				rows = append(rows, []string{"…", fmt.Sprintf("%d more alerts and objects", len(v.FalseBy)-i), ""})
				break
			}
			rows = append(rows, []string{f.Alert, f.Object, fmt.Sprint(f.Count)})
		}
		table(&b, []string{"false alarm", "object", "times"}, rows)
		b.WriteByte('\n')
	}
	if len(v.Bars) > 0 {
		var rows [][]string
		for _, r := range v.Bars {
			state := "met"
			switch {
			case !r.Met && r.Known != "":
				state = "missed, known: " + r.Known
			case !r.Met:
				state = "MISSED"
			case r.Known != "":
				state = "MET, BUT A KNOWN MISS"
			}
			rows = append(rows, []string{r.Bar, r.Measured, state})
		}
		table(&b, []string{"bar", "measured", ""}, rows)
		b.WriteByte('\n')
	}
	return b.String()
}
