package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"
	"github.com/schollz/progressbar/v3"

	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/replay/history"
	"github.com/sightglass-ml/sightglass/replay/report"
)

// historyFlags are the flags of `replay --from-prometheus`.
type historyFlags struct {
	url, httpConfig, lasts string
	until                  string
	interval               time.Duration
	set                    [4]bool // whether each flag of optional is given
}

// optional are flags that only apply to a history.
var optional = [4]string{"--range", "--until", "--interval", "--http.config.file"}

// register adds the flags to a command.
func (f *historyFlags) register(c *kingpin.CmdClause) {
	c.Flag("from-prometheus", "Instead of scenarios, run the rules over the history of the Prometheus, Mimir or Thanos with this URL, and list which alerts would have fired.").
		PlaceHolder("URL").StringVar(&f.url)
	c.Flag("range", "With --from-prometheus: how much history.").Default("30d").IsSetByUser(&f.set[0]).StringVar(&f.lasts)
	c.Flag("until", "With --from-prometheus: end of the history, such as 2026-03-31 or 2026-03-31T12:00:00Z; now by default.").PlaceHolder("TIME").IsSetByUser(&f.set[1]).StringVar(&f.until)
	c.Flag("interval", "With --from-prometheus: time between two evaluations.").Default("1m").IsSetByUser(&f.set[2]).DurationVar(&f.interval)
	c.Flag("http.config.file", "With --from-prometheus: file in the form of Prometheus's http_config, for credentials, TLS and headers such as X-Scope-OrgID.").
		PlaceHolder("FILE").IsSetByUser(&f.set[3]).StringVar(&f.httpConfig)
}

// chosen reports whether a history is to be replayed.
func (f *historyFlags) chosen() bool { return f.url != "" }

// setFlags returns the given flags that apply only to a history.
func (f *historyFlags) setFlags() (names []string) {
	for i, set := range f.set {
		if set {
			names = append(names, optional[i])
		}
	}
	return names
}

// run replays the history and writes the alerts as a table, as JSON or as Markdown.
func (f *historyFlags) run(ctx context.Context, rules engine.Rules, now func() time.Time, output string, stdout, stderr io.Writer) error {
	lasts, err := model.ParseDuration(f.lasts)
	if err != nil || lasts <= 0 {
		return fmt.Errorf("--range is %q, expected a duration such as 30d", f.lasts)
	}
	to := now()
	if f.until != "" {
		if to, err = time.Parse(time.RFC3339, f.until); err != nil {
			if to, err = time.Parse(time.DateOnly, f.until); err != nil {
				return fmt.Errorf("--until is %q, expected a date such as 2026-03-31, or a time such as 2026-03-31T12:00:00Z", f.until)
			}
		}
	}
	from := to.Add(-time.Duration(lasts))
	bar := newBar(stderr, int64(to.Sub(from).Hours()), "replaying", progressbar.OptionSetPredictTime(true))
	result, err := history.Run(ctx, history.Config{
		URL: f.url, HTTPConfigFile: f.httpConfig, From: from, To: to, Interval: f.interval,
		Progress: func(at time.Time) { _ = bar.Set64(int64(at.Sub(from).Hours())) }, // A failure to draw the bar is not an error.
	}, rules)
	_ = bar.Clear() // As above.
	if err != nil {
		return err
	}
	for _, failed := range result.Stats.Errors {
		_, _ = fmt.Fprintf(stderr, "rule %s failed at %d evaluations, first at %s: %v\n", failed.Rule, failed.Times, failed.At.Format(time.RFC3339), failed.Err)
	}
	if output == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			Alerts  []history.Alert              `json:"alerts"`
			NoInput []engine.AlertsWithoutInputs `json:"no_input"`
			Absent  []string                     `json:"absent_metrics"`
		}{result.Alerts, result.Unfed, result.Absent})
	}
	if _, err := fmt.Fprintf(stdout, "%s to %s, %d metrics: %d alerts would have fired; %d had no input.\n",
		from.UTC().Format(time.DateTime), to.UTC().Format(time.DateTime), len(result.Read), len(result.Alerts), len(result.Unfed)); err != nil {
		return err
	}
	for _, g := range historyGrids(result) {
		show := g.WriteTable
		if output == "markdown" {
			show = g.WriteMarkdown
		}
		if err := show(stdout); err != nil {
			return err
		}
	}
	return nil
}

// historyGrids returns the alerts that would have fired, and those that could not fire because their metrics are absent.
func historyGrids(result history.Result) []report.Grid {
	fired := report.Grid{Title: "Alerts", Rows: [][]string{{"alert", "times", "firing", "longest", "first", "labels"}}}
	for _, a := range result.Alerts {
		firing := model.Duration(a.Firing).String()
		if a.Still {
			firing += " (still)"
		}
		fired.Rows = append(fired.Rows, []string{
			a.Name, strconv.Itoa(a.Times), firing, model.Duration(a.Longest).String(), a.First.UTC().Format(time.DateTime),
			a.Labels.MatchLabels(false, "alertname", "severity", "layer", "response").String(),
		})
	}
	unfed := report.Grid{Title: "Alerts that had no input", Rows: [][]string{{"alert", "absent metrics"}}}
	for _, u := range result.Unfed {
		absent := strings.Join(u.Absent[:min(len(u.Absent), fewNames)], ", ")
		if more := len(u.Absent) - fewNames; more > 0 {
			absent += fmt.Sprintf(" and %d more", more)
		}
		unfed.Rows = append(unfed.Rows, []string{u.Alert, absent})
	}
	return []report.Grid{fired, unfed}
}

// fewNames is the number of absent metrics that a table names for an alert; JSON has all of them.
const fewNames = 3
