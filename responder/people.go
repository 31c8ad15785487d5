package responder

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/responder/internal/review"
	"github.com/sightglass-ml/sightglass/responder/internal/verdict"
)

// peopleDescs has the metrics of people's verdicts.
type peopleDescs struct {
	items, decisions, waiting, forwards   *prometheus.Desc
	alerts, detect, resolve               *prometheus.Desc
	beforeDetect, beforeResolve, beforeFA *prometheus.Desc
}

func newPeopleDescs(c *catalogue.Catalogue) peopleDescs {
	const stored = " All replicas publish the same."
	other := func(kind, name, help string, labels ...string) *prometheus.Desc {
		c.Metrics = append(c.Metrics, catalogue.Metric{Name: c.Prefix + name, Type: kind, Help: help, Labels: labels})
		return prometheus.NewDesc(c.Prefix+name, help, labels, nil)
	}
	return peopleDescs{
		items:     c.Gauge("review_queue_items", "Items of the review queue by state."+stored, "state"),
		decisions: c.Counter("review_decisions_total", "Decisions on items of the review queue."+stored, "decision"),
		waiting:   c.Gauge("review_forward_pending", "Items that the external review tool has not accepted yet."+stored),
		forwards:  c.Counter("review_forwards_total", "Items that the external review tool accepted or rejected."+stored, "result"),
		// A verdict can change, so these counts can fall: they are untyped, and rate() is wrong for them.
		alerts:  other("untyped", "alerts_total", "Stored alerts by their present verdict. The verdict can change, so do not use rate()."+stored, "alertname", "verdict"),
		detect:  other("histogram", "incident_time_to_detect_seconds", "Time from the onset of an incident, as noted, until its first alert fired. Of all stored incidents, so do not use rate()."+stored),
		resolve: other("histogram", "incident_time_to_resolve_seconds", "Time from the onset of an incident, as noted, until its last alert was resolved. Of all stored incidents, so do not use rate()."+stored),

		beforeDetect:  c.Gauge("incident_time_to_detect_before_seconds", "Configured time to detect an incident before Sightglass."),
		beforeResolve: c.Gauge("incident_time_to_resolve_before_seconds", "Configured time to resolve an incident before Sightglass."),
		beforeFA:      c.Gauge("alerts_false_before_ratio", "Configured share of false alerts before Sightglass."),
	}
}

// incidentBuckets range from automated detection to incidents that stayed undetected for weeks.
var incidentBuckets = []float64{60, 120, 300, 600, 900, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 24 * 3600, 72 * 3600, 7 * 24 * 3600, 21 * 24 * 3600}

func (d peopleDescs) metrics(r review.Status, v verdict.Status, before BeforeConfig, names *limit.Limiter) exporter.Metrics {
	var m exporter.Metrics
	for _, state := range review.States {
		m.Gauge(d.items, float64(r.Items[state]), state)
	}
	for _, decision := range review.Decisions {
		m.Counter(d.decisions, float64(r.Decisions[decision]), decision)
	}
	m.Gauge(d.waiting, float64(r.Waiting))
	for _, result := range review.ForwardResults {
		m.Counter(d.forwards, float64(r.Forwarded[result]), result)
	}

	// Every verdict of a known alert name, since a ratio also needs the count of 0. Alert names beyond the limit are added up
	// under one name.
	folded := map[verdict.Key]float64{}
	for _, k := range slices.SortedFunc(maps.Keys(v.Alerts), func(a, b verdict.Key) int {
		return cmp.Or(cmp.Compare(a.Alertname, b.Alertname), cmp.Compare(a.Verdict, b.Verdict))
	}) {
		name := names.Fold(k.Alertname)
		for _, verdict := range verdict.All {
			key := k
			key.Alertname, key.Verdict = name, verdict
			folded[key] += 0
		}
		folded[verdict.Key{Alertname: name, Verdict: k.Verdict}] += float64(v.Alerts[k])
	}
	for k, n := range folded {
		m = append(m, prometheus.MustNewConstMetric(d.alerts, prometheus.UntypedValue, n, k.Alertname, k.Verdict))
	}
	m = append(m, histogram(d.detect, v.ToDetect), histogram(d.resolve, v.ToResolve))

	if before.TimeToDetect > 0 {
		m.Gauge(d.beforeDetect, time.Duration(before.TimeToDetect).Seconds())
	}
	if before.TimeToResolve > 0 {
		m.Gauge(d.beforeResolve, time.Duration(before.TimeToResolve).Seconds())
	}
	if before.FalseAlarmRatio != nil {
		m.Gauge(d.beforeFA, *before.FalseAlarmRatio)
	}
	return m
}

func histogram(desc *prometheus.Desc, values []float64) prometheus.Metric {
	buckets, sum := map[float64]uint64{}, 0.0
	for _, le := range incidentBuckets {
		buckets[le] = 0
	}
	for _, v := range values {
		sum += v
		for _, le := range incidentBuckets {
			if v <= le {
				buckets[le]++
			}
		}
	}
	return prometheus.MustNewConstHistogram(desc, uint64(len(values)), sum, buckets)
}
