package world

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/replay/report"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// onset is the beginning of an incident that is found by a comparison with a baseline. An incident that comes before the baseline is
// complete is missed, and the result must give the reason: most files of events are shorter than the 30 days that a baseline takes.
type onset struct {
	*scenario.Event
	at      time.Time
	learned *report.Learned // nil until then
}

func onsets(s *scenario.Scenario) []*onset {
	var all []*onset
	for i := range s.Incidents {
		e := &s.Incidents[i]
		if !e.Spec().Learned {
			continue
		}
		for _, span := range e.Occurrences(s) {
			all = append(all, &onset{Event: e, at: span.From})
		}
	}
	return all
}

// noteOnsets notes the state of the baselines for the incidents that have begun.
func (e *exporter) noteOnsets(ctx context.Context, now time.Time) error {
	for _, o := range e.w.onsets {
		if o.at.After(now) || e.noted[o] {
			continue
		}
		e.noted[o] = true
		switch of, ok, err := e.learned(ctx, o.Event); {
		case err != nil:
			return fmt.Errorf("baseline at %s: %w", o.Kind, err)
		case ok:
			o.learned = &of
		}
	}
	return nil
}

// learned implements restarter.
func (d *datasets) learned(ctx context.Context, e *scenario.Event) (of report.Learned, ok bool, err error) {
	i := slices.IndexFunc(d.w.scenario.Datasets, func(ds scenario.Dataset) bool { return ds.Name == e.Dataset })
	if e.Dataset == "" || i < 0 {
		return of, false, nil
	}
	of.Wanted = d.cfg.Datasets[i].Baselines.Production.Days
	view, err := d.store.Subject("dataset", e.Dataset).View(ctx)
	if err != nil {
		return of, true, err
	}
	p, err := view.Production(ctx, 0)
	if errors.Is(err, baseline.ErrNotFound) {
		return of, true, nil
	}
	of.Days, of.Complete = len(p.Days), p.Frozen()
	return of, true, err
}

// learned implements restarter. Features are compared with training data where there are some.
func (ms *models) learned(_ context.Context, e *scenario.Event) (of report.Learned, ok bool, err error) {
	if !slices.ContainsFunc(ms.list, func(m *model) bool { return m.Name == e.Model }) {
		return of, false, nil
	}
	of.Wanted = ms.cfg.Baselines.Days
	role := "output"
	if e.Column != "" {
		role = "input"
	}
	for _, m := range ms.replay.Baselines() {
		var out dto.Metric
		if err := m.Write(&out); err != nil {
			return of, true, err
		}
		labels := make(map[string]string, len(out.GetLabel()))
		for _, l := range out.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		named := func(name string) bool { return strings.Contains(m.Desc().String(), `fqName: "`+name+`"`) }
		switch value := out.GetGauge().GetValue(); {
		case labels["model"] != e.Model || labels["role"] != role:
		case named("ml_model_baseline_days"):
			of.Days = max(of.Days, int(value))
		case named("ml_model_baseline_frozen"):
			of.Complete = of.Complete || value == 1
		case named("ml_model_field_baseline_values"):
			of.Complete = of.Complete || labels["baseline"] == baseline.EdgesTraining && labels["field"] == e.Column
		}
	}
	return of, true, nil
}

// Warnings returns reasons why the result is limited, such as an incomplete baseline.
func (w *World) Warnings() []string {
	all := slices.Clone(w.warnings)
	for _, o := range w.onsets {
		if o.learned == nil || o.learned.Complete {
			continue
		}
		of, remedy := fmt.Sprintf("dataset %q", o.Dataset), "first_day, 30 days or more before the start with rows from then on, or a warmup of 32d"
		if o.Model != "" {
			of, remedy = fmt.Sprintf("model %q", o.Model), "a warmup of 32d"
			if m := w.models.named(o.Model); m.Data == nil && o.Column != "" {
				remedy += ", or training_rows"
			}
		}
		all = append(all, fmt.Sprintf("%s had %d of the %d days of its baseline when %s began at %s: alerts on changed values could not fire yet. Let the baseline complete before the incident: %s",
			of, o.learned.Days, o.learned.Wanted, o.Kind, o.at.UTC().Format(time.DateTime), remedy))
	}
	return all
}

// named returns the model with a name, which there must be.
func (ms *models) named(name string) *model {
	return ms.list[slices.IndexFunc(ms.list, func(m *model) bool { return m.Name == name })]
}
