package metering

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

func TestSeriesLimitIsKeptForEachClient(t *testing.T) {
	m := New(Limits{Models: 10, Versions: 10, ExceptionTypes: 5, Features: 5, Evaluations: 5, Details: 12}, exportertest.Env(t).Limit, nil, nil)
	client := func(model string) string {
		name, _, _ := strings.Cut(model, "-")
		if name == "rest" {
			return ""
		}
		return name
	}
	failed := func(model, exception string) {
		s := m.Series(model, "1")
		s.Lock()
		defer s.Unlock()
		s.Observe(&convention.Observation{QueueWait: -1, ForwardPass: -1, TimeToFirst: -1, Confidence: -1, Outcome: convention.Error, Exception: exception}, Options{}, 1)
	}
	named := func(model string) (names []string) {
		s := m.Series(model, "1")
		s.Lock()
		defer s.Unlock()
		s.exceptions.each(func(name string, _ *int64) { names = append(names, name) })
		return names
	}
	flood := func(model string) {
		for i := range 100 {
			failed(model, fmt.Sprintf("%s %d", model, i))
		}
	}

	t.Run("without a division the first takes all", func(t *testing.T) {
		flood("greedy-a")
		failed("modest-a", "Timeout")
		require.Len(t, named("greedy-a"), 6, "five and other")
		require.Equal(t, []string{limit.Other}, named("modest-a"))
	})
	t.Run("with one each has places of its own, and what has series keeps them", func(t *testing.T) {
		m.Divide(Division{Client: client, Details: map[string]int{"greedy": 8, "modest": 2, "": 2}})
		flood("greedy-b")
		failed("modest-b", "Timeout")
		failed("modest-b", "Refused")
		failed("modest-c", "Timeout")
		failed("rest-a", "Timeout")
		require.Len(t, named("greedy-a"), 6)
		require.Equal(t, []string{limit.Other}, named("greedy-b"), "its five names are taken")
		require.ElementsMatch(t, []string{"Timeout", "Refused"}, named("modest-b"))
		require.Equal(t, []string{limit.Other}, named("modest-c"), "its two details are")
		require.Equal(t, []string{"Timeout"}, named("rest-a"))
	})
	t.Run("a client that a reload adds has its own", func(t *testing.T) {
		m.Divide(Division{Client: client, Details: map[string]int{"new": 5, "": 7}})
		failed("new-a", "Timeout")
		require.Equal(t, []string{"Timeout"}, named("new-a"))
	})
}

func TestStepLimitIsKeptForEachClient(t *testing.T) {
	m := New(Limits{Models: 10, Versions: 10, Steps: 6}, exportertest.Env(t).Limit, nil, nil)
	step := func(client, name string) { m.Steps(client, []convention.Step{{Name: name}}) }
	counted := func() (names []string) {
		for k := range m.steps.counts.All() {
			names = append(names, k.name)
		}
		return names
	}
	division := Division{Client: func(string) string { return "" }, Steps: map[string]int{"modest": 2, "": 4}}
	m.Divide(division)
	for i := range 100 {
		step("greedy", fmt.Sprintf("tool %d", i))
	}
	step("modest", "search")
	require.ElementsMatch(t, []string{"tool 0", "tool 1", "tool 2", "tool 3", limit.Other, "search"}, counted(), "who has no part of its own shares the rest")
	m.Divide(division)
	step("modest", "fetch")
	step("modest", "one too many")
	step("greedy", "tool 101")
	require.Len(t, counted(), 7, "the same division gives no places anew")
	require.Contains(t, counted(), "fetch")
}
