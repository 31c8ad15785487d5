package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/model"
)

// MarshalJSON implements json.Marshaler.
func (s Seconds) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(s).Seconds()) }

// A Grid is a table with a title.
type Grid struct {
	Title string
	Rows  [][]string // The first row has the headings.
}

// WriteTable writes the grid as plain text. It skips a grid without rows.
func (g Grid) WriteTable(w io.Writer) error {
	if len(g.Rows) <= 1 {
		return nil
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "\n%s\n", g.Title) //nolint:errcheck // Flush returns it.
	for _, row := range g.Rows {
		fmt.Fprintf(out, "%s\n", strings.Join(row, "\t")) //nolint:errcheck // Flush returns it.
	}
	return out.Flush()
}

// WriteMarkdown writes the grid as Markdown. It skips a grid without rows.
func (g Grid) WriteMarkdown(w io.Writer) error {
	if len(g.Rows) <= 1 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n**%s**\n\n", g.Title)
	for i, row := range g.Rows {
		cells := make([]string, len(row))
		for j := range row {
			cells[j] = strings.ReplaceAll(row[j], "|", `\|`)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
		if i == 0 {
			fmt.Fprintf(&b, "|%s\n", strings.Repeat("---|", len(row)))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Report) grids() []Grid {
	classes := Grid{"Time to detect", [][]string{{"incident", "times", "missed", "median", "p95", "worst", "found by", "others", "lead"}}}
	for _, c := range r.Classes {
		row := []string{c.Class, fmt.Sprint(c.Incidents), fmt.Sprint(c.Missed), "-", "-", "-", "-", "-", "-"}
		if c.Missed < c.Incidents {
			var by []string
			by = append(by, slices.Sorted(maps.Keys(c.FoundBy))...)
			copy(row[3:], []string{short(c.Median), short(c.P95), short(c.Worst), strings.Join(by, ", "), fmt.Sprint(c.Others)})
		}
		if c.MinLead != nil {
			row[8] = short(c.MinLead)
		}
		classes.Rows = append(classes.Rows, row)
	}
	study := Grid{"Comparison with the case study", [][]string{{"", "before", "case study", "here"}}}
	for _, f := range r.CaseStudy {
		study.Rows = append(study.Rows, []string{f.What, f.Before, f.Case, f.Ours})
	}
	return []Grid{classes, alarmGrid("False alarms", r.FalseAlarms), alarmGrid("Excluded", r.ExcludedAlerts), r.barGrid(), study}
}

func alarmGrid(title string, alarms []FalseAlarm) Grid {
	g := Grid{title, [][]string{{"alert", "object", "times", "first"}}}
	for _, a := range alarms {
		g.Rows = append(g.Rows, []string{a.Alert, a.Object, fmt.Sprint(a.Times), a.At[0].UTC().Format(time.DateTime)})
	}
	return g
}

func (r Report) barGrid() Grid {
	g := Grid{"Bars", [][]string{{"measure", "incident", "limit", "measured", "result"}}}
	for _, b := range r.Bars {
		measured, result, class := "-", "reached", b.Class
		if b.Value != nil {
			measured = b.figure(*b.Value)
		}
		switch {
		case !b.Reached && b.KnownMiss != "":
			result = "known miss"
		case !b.Reached:
			result = "MISSED"
		}
		if class == "" {
			class = "all"
		}
		g.Rows = append(g.Rows, []string{b.Measure, class, b.figure(b.Limit), measured, result})
	}
	return g
}

// figure formats a value or a limit.
func (b Bar) figure(v float64) string {
	if b.Unit == "" {
		return fmt.Sprintf("%.3g", v)
	}
	return Seconds(v * float64(time.Second)).Short()
}

func (r Report) head() string {
	t := r.Totals
	return fmt.Sprintf("%s, %s to %s: %d alerts, %d of them false (%s, %.3g a week); %d of %d incidents missed.",
		r.Scenario, r.From.UTC().Format(time.DateOnly), r.To.UTC().Format(time.DateOnly), t.Alerts, t.False,
		percent(t.FalseAlarmShare), t.FalseAlarmsPerWeek, t.Missed, t.Incidents)
}

// WriteTable writes the report as plain text.
func (r Report) WriteTable(w io.Writer) error {
	if _, err := fmt.Fprintln(w, r.head()); err != nil {
		return err
	}
	for _, g := range r.grids() {
		if err := g.WriteTable(w); err != nil {
			return err
		}
	}
	return r.writeLines(w, "\nMISSED BAR: %s\n", "\nWARNING: %s.\n")
}

func (r Report) writeLines(w io.Writer, bar, warning string) error {
	for _, b := range r.MissedBars {
		if _, err := fmt.Fprintf(w, bar, b); err != nil {
			return err
		}
	}
	for _, text := range r.Warnings {
		if _, err := fmt.Fprintf(w, warning, text); err != nil {
			return err
		}
	}
	return nil
}

// WriteMarkdown writes the report as Markdown.
func (r Report) WriteMarkdown(w io.Writer) error {
	if _, err := fmt.Fprintln(w, r.head()); err != nil {
		return err
	}
	for _, g := range r.grids() {
		if err := g.WriteMarkdown(w); err != nil {
			return err
		}
	}
	return r.writeLines(w, "\nMissed bar: %s.\n", "\nWarning: %s.\n")
}

// short formats a duration; "-" if there is none.
func short(s *Seconds) string {
	if s == nil {
		return "-"
	}
	return s.Short()
}

// Short formats a duration in whole seconds, in the format of Prometheus.
func (s Seconds) Short() string {
	d := time.Duration(s).Round(time.Second)
	if d < 0 {
		return "-" + model.Duration(-d).String()
	}
	return model.Duration(d).String()
}

func percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }
