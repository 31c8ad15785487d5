package cost

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/bill"
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/metering"
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/prices"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
)

// Each bad configuration has the error message that it must cause.
func TestBadConfigurations(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.bad.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".bad.yaml"), func(t *testing.T) {
			t.Parallel()
			_, err := Load(path)
			require.Error(t, err)
			exportertest.Golden(t, strings.TrimSuffix(path, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

func TestGoodConfiguration(t *testing.T) {
	t.Parallel()
	cfg, err := Load("testdata/full.good.yaml")
	require.NoError(t, err)
	require.Equal(t, "America/Vancouver", cfg.calendar.Zone().String())
	require.EqualValues(t, "testdata/state", cfg.State, "relative to the file")
	require.Equal(t, bill.Billed, cfg.Bills.Cost)
	require.Equal(t, bill.Replace, cfg.Bills.Sources[0].Deliveries)
	require.Equal(t, bill.ByFile, cfg.Bills.Sources[0].Delivery)
	require.EqualValues(t, "testdata/bills/azure", cfg.Bills.Sources[0].Folder)
	require.Equal(t, "focus", cfg.Bills.Sources[1].Bucket.Prefix)
	require.Equal(t, "cost-center", cfg.Bills.Departments[0].FromTag)
	require.Equal(t, map[string]string{"team": "search", "env": "prod"}, cfg.Bills.Departments[1].Tags)
	require.Equal(t, config.Duration(400*24*time.Hour), cfg.Exchange.History)

	units := map[prices.Unit]int{}
	for _, e := range cfg.entries {
		units[e.Unit]++
	}
	require.Equal(t, map[prices.Unit]int{
		prices.GPUHour: 1, prices.Request: 1, prices.InputToken: 4, prices.OutputToken: 3, prices.CachedToken: 2,
		prices.CacheWriteToken: 1, prices.AudioInToken: 1, prices.ImageInToken: 1, prices.ReasoningToken: 1, prices.AudioOutToken: 1, prices.ImageOutToken: 1, prices.Image: 1,
	}, units)
	require.Equal(t, metering.ByAllocation, cfg.Metering.Loaded)
	require.Equal(t, GatewayConfig{Currency: "EUR", Prefer: true}, cfg.Metering.Gateway)
	require.Equal(t, "batch", cfg.Metering.Models[1].Tier)
	require.InDelta(t, 8, cfg.Bills.GPUMachines[0].GPUs, 0)
	require.True(t, cfg.Exchange.InvoiceRates)
}

func TestOmittedSettingsHaveDefaults(t *testing.T) {
	t.Parallel()
	var cfg Config
	require.NoError(t, config.Decode("cost.yaml", []byte("bills: {sources: [{name: aws, folder: bills}]}"), &cfg))
	require.Equal(t, "America/Toronto", cfg.calendar.Zone().String())
	require.Equal(t, bill.Effective, cfg.Bills.Cost)
	require.Equal(t, bill.Auto, cfg.Bills.Sources[0].Deliveries)
	require.Equal(t, bill.ByFolder, cfg.Bills.Sources[0].Delivery)
	require.True(t, cfg.Exchange.Online)
	require.Nil(t, cfg.Metering)
}

// Loading any file ends with a configuration or an error.
func FuzzConfig(f *testing.F) {
	for _, pattern := range []string{"testdata/*.bad.yaml", "testdata/*.good.yaml"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, path := range files {
			data, err := os.ReadFile(path)
			require.NoError(f, err)
			f.Add(string(data))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		var cfg Config
		if err := config.Decode("fuzz.yaml", []byte(text), &cfg); err == nil {
			require.NotNil(t, cfg.calendar.Zone())
		}
	})
}
