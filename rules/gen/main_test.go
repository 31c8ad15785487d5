package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/rules"
)

func TestTheCommittedPageIsCurrent(t *testing.T) {
	want, err := page()
	require.NoError(t, err)
	got, err := os.ReadFile("../../docs/alerts.md")
	require.NoError(t, err)
	require.Equal(t, want, string(got), "run go generate ./rules")
}

func TestEveryThresholdHasAReason(t *testing.T) {
	reasons, err := comments()
	require.NoError(t, err)
	thresholds, err := rules.Thresholds()
	require.NoError(t, err)
	for _, threshold := range thresholds {
		require.NotEmpty(t, reasons[rules.ThresholdPrefix+threshold.Signal], "thresholds.yaml does not say why %s has its default", threshold.Signal)
	}
}
