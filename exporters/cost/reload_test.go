package cost

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

func TestAReloadThatChangesNothingReplacesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	load := func(text string) Config {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		cfg, err := config.Load[Config](file)
		require.NoError(t, err)
		return cfg
	}
	const text = "exchange: {online: false}\nmetering: {prometheus: http://localhost:9090}\nbudgets: [{department: a, monthly_cad: 100}]\n"
	running := &Exporter{cfg: load(text)}
	require.NoError(t, running.Reload(t.Context(), load("# The lines move.\n\n"+text)))
	require.ErrorIs(t, running.Reload(t.Context(), load(text+"fiscal_year_start: 4\n")), exporter.ErrReplace)
}
