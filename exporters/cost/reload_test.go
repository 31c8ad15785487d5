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

func TestTheTimeZoneOfAllExportersIsThatOfTheBooks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(file, []byte("metering: {prometheus: http://localhost:9090}\n"), 0o600))
	for env, want := range map[string]string{"Asia/Tokyo": "Asia/Tokyo", "": "America/Toronto"} {
		t.Setenv("SIGHTGLASS_TIME_ZONE", env)
		cfg, err := Load(file)
		require.NoError(t, err)
		require.Equal(t, want, cfg.calendar.Zone().String())
	}
}
