package exporter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// gatherers gather from several sources that have each checked their own metrics. Unlike prometheus.Gatherers, they do not check every
// metric again, which took a tenth of the time of a scrape.
type gatherers []prometheus.Gatherer

// Gather implements prometheus.Gatherer.
func (gs gatherers) Gather() ([]*dto.MetricFamily, error) {
	var all []*dto.MetricFamily
	var errs []error
	for _, g := range gs {
		families, err := g.Gather()
		all = append(all, families...)
		errs = append(errs, err)
	}
	merged, err := merge(all)
	return merged, errors.Join(append(errs, err)...)
}

// merge sorts families by name and merges those with the same name. Several scrapes share prepared families, so merge changes none of
// them.
func merge(all []*dto.MetricFamily) ([]*dto.MetricFamily, error) {
	slices.SortStableFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	merged := make([]*dto.MetricFamily, 0, len(all))
	var errs []error
	ours := false // the last family of merged is a copy
	for _, f := range all {
		last := len(merged) - 1
		if last < 0 || merged[last].GetName() != f.GetName() {
			merged, ours = append(merged, f), false
			continue
		}
		before := merged[last]
		if f.GetType() != before.GetType() || f.GetHelp() != before.GetHelp() {
			errs = append(errs, fmt.Errorf("%s is a %s (%s) and also a %s (%s)",
				f.GetName(), before.GetType(), before.GetHelp(), f.GetType(), f.GetHelp()))
			continue
		}
		if !ours {
			before = &dto.MetricFamily{
				Name: before.Name, Help: before.Help, Type: before.Type, Unit: before.Unit, Metric: slices.Clip(before.Metric),
			}
			merged[last], ours = before, true
		}
		before.Metric = append(before.Metric, f.Metric...)
	}
	return merged, errors.Join(errs...)
}
