package exporter

import (
	"errors"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// registries gathers from several registries. Each has checked its own metrics,
// so only what it alone cannot know is left: whether another one has a family of
// the same name. prometheus.Gatherers checks every metric once more, which was a
// tenth of the time of a scrape; it is asked only to merge such families.
type registries []prometheus.Gatherer

// Gather implements prometheus.Gatherer.
func (rs registries) Gather() ([]*dto.MetricFamily, error) {
	var all []*dto.MetricFamily
	var errs []error
	for _, r := range rs {
		families, err := r.Gather()
		all = append(all, families...)
		errs = append(errs, err)
	}
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	for i := 1; i < len(all); i++ {
		if all[i].GetName() == all[i-1].GetName() {
			return prometheus.Gatherers(rs).Gather()
		}
	}
	return all, errors.Join(errs...)
}
