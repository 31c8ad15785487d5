package modelquality

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

func TestFieldLimitIsKeptForEachClient(t *testing.T) {
	t.Parallel()
	cfg := parse(t, `
limits: {versions: 20, models: 20}
baselines: {fields: {max_total: 10}}
clients:
  fraud-team: {models: ["fraud*"], max_models: 4, max_versions: 4}
`)
	fields := fieldLimits(&cfg, exportertest.Env(t).Limit)
	counted := func(model string, names int) (n int) {
		for i := range names {
			if fields(model).Fold(fmt.Sprint(model, i)) != limit.Other {
				n++
			}
		}
		return n
	}
	require.Equal(t, 8, counted("made-up", 50), "what the clients' shares of max_total leave")
	require.Equal(t, 2, counted("fraud", 50), "a fifth of the versions has a fifth of the fields")
	require.Zero(t, counted("fraud-eu", 50))

	cfg = parse(t, "baselines: {fields: {max_total: 10}}\n")
	fields = fieldLimits(&cfg, exportertest.Env(t).Limit)
	require.Equal(t, 10, counted("any", 50), "without clients all share")
}
