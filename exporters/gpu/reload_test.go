package gpu

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

func TestUnchangedReloadReplacesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	load := func(text string) Config {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		cfg, err := config.Load[Config](file)
		require.NoError(t, err)
		return cfg
	}
	const text = "interval: 10s\nholders: {max: 50}\n"
	running := &instance{cfg: load(text)}
	require.NoError(t, running.Reload(t.Context(), load("# The lines move.\n\n"+text)))
	require.ErrorIs(t, running.Reload(t.Context(), load(text+"expected: 8\n")), exporter.ErrReplace)
}
