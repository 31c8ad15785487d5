package dashboards

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

// A fleet that is too large to look at one by one.
const (
	fleetHosts       = 18 // Of two GPUs each.
	fleetGPUs        = 36
	fleetDatasets    = 64
	fleetModels      = 12
	fleetDepartments = 12
	fleetAlerts      = 44
)

// chartLines is the number of lines of a chart that a reader can distinguish.
const chartLines = 10

// newFleet is a Prometheus that has scraped a fleet: the fixtures with more hosts, and with copies of their objects.
func newFleet(t *testing.T) *replay {
	t.Helper()
	r, scraped := emptyReplay(t)
	hosts := map[string][]sample{"gpu": scraped["gpu"], "node": scraped["node"]}
	rest := map[string][]sample{}
	for job, samples := range scraped {
		if hosts[job] == nil {
			rest[job] = copies(t, samples)
		}
	}
	var instances []string
	for i := range fleetHosts {
		instances = append(instances, fmt.Sprintf("node-%02d:10910", i))
	}
	groups := r.ruleGroups(t)
	for offset := -timeRange; offset <= 0; offset += scrapeInterval {
		at := r.now.Add(offset)
		for i, instance := range instances {
			r.scrape(t, at, relabel(hosts, "uuid", func(uuid string) string { return fmt.Sprintf("%s-%02d", uuid, i) }), []string{instance}, noTargetLabels)
		}
		r.scrape(t, at, rest, bareInstances, noTargetLabels)
		// Alerts wait at most ten minutes, and what a later group reads must have been recorded.
		if minutes := -offset.Minutes(); minutes == 20 || minutes == 12 || minutes <= 1 {
			for _, group := range groups {
				group.Eval(t.Context(), at)
			}
		}
	}
	return r
}

// copies are the samples with as many objects as a fleet has.
func copies(t *testing.T, samples []sample) []sample {
	t.Helper()
	out := slices.Clone(samples)
	for label, wanted := range map[string]int{"dataset": fleetDatasets, "model": fleetModels, "department": fleetDepartments} {
		names := map[string]bool{}
		for _, s := range samples {
			if name := s.labels.Get(label); name != "" {
				names[name] = true
			}
		}
		for n := 2; len(names)*(n-1) < wanted && len(names) > 0; n++ {
			for _, s := range samples {
				if name := s.labels.Get(label); name != "" {
					s.labels = labels.NewBuilder(s.labels).Set(label, fmt.Sprintf("%s-%d", name, n)).Labels()
					out = append(out, s)
				}
			}
		}
	}
	return out
}

func relabel(scraped map[string][]sample, label string, to func(string) string) map[string][]sample {
	out := map[string][]sample{}
	for job, samples := range scraped {
		for _, s := range samples {
			if value := s.labels.Get(label); value != "" {
				s.labels = labels.NewBuilder(s.labels).Set(label, to(value)).Labels()
			}
			out[job] = append(out[job], s)
		}
	}
	return out
}

func TestAFleetStaysReadable(t *testing.T) {
	r := newFleet(t)
	count := func(expr string) int {
		found, err := r.instant(t, expr)
		require.NoError(t, err)
		require.Len(t, found, 1, expr)
		return int(found[0].F)
	}
	require.GreaterOrEqual(t, count("count(count by (uuid) (gpu:gpu_utilization:ratio))"), fleetGPUs)
	require.GreaterOrEqual(t, count("count(count by (dataset) (ml_dataset_profile_success))"), fleetDatasets)
	require.GreaterOrEqual(t, count("count(count by (model) (model:ml_inference_requests:rate5m))"), fleetModels)
	require.GreaterOrEqual(t, count(`count(ALERTS{alertstate="firing"})`), fleetAlerts)

	for _, d := range committed(t) {
		chosen := selections(t, r, d)[0]
		for _, p := range d.AllPanels() {
			lines := 0
			for _, target := range p.Targets {
				found := series(t, r, target, chosen)
				if p.Type == "timeseries" && target.RefID != "limit" && target.RefID != "limits" {
					lines += len(found)
				}
				if p.Type == "stat" && len(found) > chartLines {
					t.Errorf("%s, panel %q: %d numbers", d.Title, p.Title, len(found))
				}
			}
			if lines > chartLines {
				t.Errorf("%s, panel %q: %d lines", d.Title, p.Title, lines)
			}
		}
	}
}
