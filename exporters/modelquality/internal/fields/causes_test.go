package fields

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
	"github.com/sightglass-ml/sightglass/internal/reveal"
)

// sceneOf serves two versions for an hour and a half, with a change in the last half hour.
func sceneOf(t *testing.T, policy reveal.Policy, change func(version string, o *convention.Observation)) (*Keeper, *time.Time, func(minutes int, change func(string, *convention.Observation))) {
	t.Helper()
	clock := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	s := newShop(rand.New(rand.NewPCG(3, 4)), noSegment)
	k, trackers := trialWorld(t, s, &clock)
	k.Reveal = policy
	serve := func(minutes int, change func(string, *convention.Observation)) {
		for range minutes {
			clock = clock.Add(time.Minute)
			for _, tracker := range trackers {
				counting := tracker.Begin()
				for range 60 {
					o := s.inference(tracker.version, false)
					if change != nil {
						change(tracker.version, o)
					}
					counting.Count(o)
				}
				counting.End()
			}
			require.NoError(t, k.Explain(t.Context()))
		}
	}
	serve(60, nil)
	require.Empty(t, causesOf(t, k), "nothing has changed")
	serve(30, change)
	return k, &clock, serve
}

func causesOf(t *testing.T, k *Keeper) (found []string) {
	t.Helper()
	for line := range strings.Lines(exportertest.Gather(t, k)) {
		if strings.HasPrefix(line, "ml_model_cause_") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

func set(o *convention.Observation, field string, v otlp.Value) {
	for i := range o.Features {
		if o.Features[i].Name == field {
			o.Features[i].Value = v
		}
	}
}

func get(o *convention.Observation, field string) string {
	for i := range o.Features {
		if o.Features[i].Name == field {
			return o.Features[i].Value.Text()
		}
	}
	return ""
}

func TestTheCauseOfAModelsChange(t *testing.T) {
	t.Parallel()
	breaks := func(o *convention.Observation) { set(o, driftedField, otlp.Value{}) }
	for name, test := range map[string]struct {
		policy reveal.Policy
		change func(version string, o *convention.Observation)
		want   string // cause_field and cause_value of version 2
		extra  string // a series that is there as well
	}{
		"a value of a feature that the baseline never had": {change: func(_ string, o *convention.Observation) {
			if get(o, "provider") == "p-2" {
				set(o, "provider", otlp.StringValue("newpay"))
				breaks(o)
			}
		}, want: `cause_field="provider",cause_value="newpay"`, extra: `ml_model_cause_gradual{cause_field="provider",cause_value="newpay",field="score",model="fraud",role="input",signal="broken_ratio",version="2"} 0`},
		"a name of a person is not shown": {change: func(_ string, o *convention.Observation) {
			if get(o, "provider") == "p-2" {
				set(o, "provider", otlp.StringValue("Jane Doe"))
				breaks(o)
			}
		}, want: `cause_field="provider",cause_value="#~`},
		"unless the configuration allows it": {policy: reveal.Policy{"prov*"}, change: func(_ string, o *convention.Observation) {
			if get(o, "provider") == "p-2" {
				set(o, "provider", otlp.StringValue("Jane Doe"))
				breaks(o)
			}
		}, want: `cause_field="provider",cause_value="Jane Doe"`},
		"one replica of all": {change: func(_ string, o *convention.Observation) {
			if o.Origin.Instance == "pod-3" {
				breaks(o)
			}
		}, want: `cause_field="instance",cause_value="pod-3"`, extra: `ml_model_cause_instances_ratio{cause_field="instance",cause_value="pod-3",field="score",model="fraud",role="input",signal="broken_ratio",version="2"} 0.25`},
		"a client, on all replicas": {change: func(_ string, o *convention.Observation) {
			if o.Origin.Client == "partner" {
				breaks(o)
			}
		}, want: `cause_field="client",cause_value="partner"`, extra: `ml_model_cause_instances_ratio{cause_field="client",cause_value="partner",field="score",model="fraud",role="input",signal="broken_ratio",version="2"} 1`},
		"a client of one version": {change: func(version string, o *convention.Observation) {
			if version == "2" && o.Origin.Client == "partner" {
				breaks(o)
			}
		}, want: `cause_field="version, client",cause_value="2, partner"`},
		"a version": {change: func(version string, o *convention.Observation) {
			if version == "2" && o.Trace[0] == 0 {
				set(o, driftedField, otlp.DoubleValue(1e9))
			}
		}, want: `cause_field="version",cause_value="2"`},
		"everything, so that no segment explains it": {change: func(_ string, o *convention.Observation) { breaks(o) }, want: `cause_field="",cause_value=""`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, _, serve := sceneOf(t, test.policy, test.change)
			found := causesOf(t, k)
			var of []string
			for _, line := range found {
				if strings.HasPrefix(line, "ml_model_cause_info") && strings.Contains(line, `field="score"`) && strings.Contains(line, `signal="broken_ratio"`) && strings.Contains(line, `version="2"`) {
					of = append(of, line)
				}
			}
			require.Len(t, of, 1, "%s", strings.Join(found, "\n"))
			require.Contains(t, of[0], test.want)
			if test.extra != "" {
				require.Contains(t, found, test.extra)
			}
			if test.policy == nil {
				require.NotContains(t, strings.Join(found, "\n"), "Jane")
			}
			if name == "a client, on all replicas" {
				serve(5+60+31, nil) // Until the hour is without it, and half an hour more.
				require.Empty(t, causesOf(t, k), "it is over")
			}
		})
	}
}

func TestNoCauseIsReportedOnlyAfterSeveralSearches(t *testing.T) {
	t.Parallel()
	k, _, serve := sceneOf(t, nil, nil)
	everything := func(_ string, o *convention.Observation) { set(o, driftedField, otlp.Value{}) }
	early := false
	for range 12 {
		serve(1, everything)
		found := strings.Join(causesOf(t, k), "\n")
		require.NotContains(t, found, `signal="broken_ratio",version="2"} 1`)
		if found == "" {
			early = true
			continue
		}
		require.True(t, early, "it is not claimed by the first search")
	}
	require.Contains(t, strings.Join(causesOf(t, k), "\n"), `cause_field="",cause_value="",field="score",model="fraud",role="input",signal="broken_ratio",version="2"} 0`)
}

func TestRestartFreesTheMemoryOfTheSample(t *testing.T) {
	t.Parallel()
	k, _, _ := sceneOf(t, nil, nil)
	require.Positive(t, k.memory.Used())
	for _, tracker := range k.models["fraud"].trackers {
		tracker.restart(k.Now())
	}
	require.Zero(t, k.memory.Used())
}
